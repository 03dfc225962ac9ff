#pragma once
#include <optional>

#include "simulate_layout.h"
#include "simulate_pipeline.h"

namespace r1::pipeline {

/// What one optimizer step trains on.
struct StepWork {
  double tokens = 0;        ///< packed rows of all sequences
  double pairs = 0;         ///< (query, key) pairs of one layer among them
  double mean_tokens = 0;   ///< of a sequence; none is cut
  double longest_tokens = 0;    ///< a pipeline that gets it has at least as much to do
  double micro_batch_tokens = 0;  ///< at most so many at a time, but one sequence at least
  bool mtp = false;         ///< the module for multi-token prediction learns too
  bool checkpointing = false;
  bool dual = true;         ///< DualPipe is allowed
};

/// One optimizer step on one layout.
struct TrainingStep {
  Layout layout;
  int64_t micro_batches = 0;     ///< of a pipeline
  double micro_batch_tokens = 0;
  PipelineTime pipeline;
  double reduce_s = 0;           ///< gradients: reduce_scatter after the last backward chunk
  double gather_s = 0;           ///< new weights: all_gather
  double optimizer_s = 0;        ///< AdamW on a rank's part
  LinkBytes exchange, sends, reduce, gather;  ///< of one rank
  std::vector<std::pair<std::string, double>> memory;

  double seconds() const { return pipeline.seconds + reduce_s + gather_s + optimizer_s; }
  double memory_bytes() const;
};

/// One step with micro-batches of `micro_tokens`, DualPipe where it can run and does not take longer than 1F1B.
///
///   micro-batches  ceil(max(tokens / pipelines, longest) / micro_tokens), equal ones
///   reduce         float32 gradients of what a rank holds: of replicated parameters among the pipelines, of experts among the
///                  ranks that hold the same ones; gather: bfloat16 weights the same way back
///   optimizer      parameters / ranks x (2 (master + moments) + gradients) bytes
TrainingStep training_step(const Machine& machine, const ModelParts& model, const Layout& layout, const StepWork& work, double micro_tokens);

/// The fastest of micro-batches of mean_tokens, twice, four times ... as many up to the limit that fit in `device_bytes`; none when
/// nothing fits, and then `smallest` is the memory of the smallest.
std::optional<TrainingStep> best_step(const Machine& machine, const ModelParts& model, const Layout& layout, const StepWork& work, double* smallest = nullptr);

}  // namespace r1::pipeline
