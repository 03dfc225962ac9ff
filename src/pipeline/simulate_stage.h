#pragma once
#include <functional>
#include <optional>

#include "plan_lengths.h"
#include "r1/pipeline/simulate.h"
#include "simulate_rollout.h"
#include "simulate_training.h"

namespace r1::pipeline {

/// A part of a stage in which lengths are taken to be constant.
struct StagePiece {
  double steps = 0;              ///< optimizer steps
  double completion = 0;         ///< mean
  double limit = 0, longest = 0; ///< of a completion
};

/// What a simulation reckons with; an assumption is one of these numbers.
struct StageInputs {
  Machine machine;
  ModelParts model;
  bool rl = false;
  std::vector<StagePiece> pieces;
  double texts = 0, text_tokens = 0;              ///< of a step; text stages
  double prompts = 0, group = 0, prompt_tokens = 0;  ///< of a step; GRPO
  double steps_per_rollout = 1, tokens_per_decode_step = 1;
  double max_batch = 0;                           ///< sequences that a group of samplers decodes together
  bool reference = false, mtp = false, checkpointing = false, dual = true;
  double micro_batch_tokens = 0;
  std::optional<Layout> layout;                   ///< while training, when it is settled
  std::optional<SamplerLayout> sampler;
};

/// Seconds and bytes of one optimizer step on average, and of the whole stage.
struct StageResult {
  std::vector<std::pair<std::string, double>> phases;       ///< seconds of a step, in order; they add up to seconds / steps
  std::vector<std::pair<std::string, LinkBytes>> links;     ///< of one rank in a step
  double steps = 0, seconds = 0, tokens = 0;                ///< tokens trained
  TrainingStep training;                                    ///< of the piece with the longest sequences
  std::optional<RolloutTime> rollout;                       ///< of the same
  std::vector<std::pair<std::string, double>> sampler_memory;
  double device_hours(int64_t ranks) const { return seconds * static_cast<double>(ranks) / 3600; }
};

/// A stage of the config as numbers; none for a kind that is not simulated. Throws Error for a model of which only counts are known.
std::optional<StageInputs> stage_inputs(const StageEntry& entry, const Lengths& lengths, const Machine& machine);

/// One step's training and one rollout of a piece.
StepWork work_of(const StageInputs& inputs, const StagePiece& piece);
RolloutWork rollout_work(const StageInputs& inputs, const StagePiece& piece, const SamplerLayout& sampler);

/// The stage on its settled layouts; none when a piece does not fit in memory, with the reason in `why`.
std::optional<StageResult> simulate_stage(const StageInputs& inputs, std::string* why = nullptr);

/// A layout that was tried, and what came of it.
struct TriedLayout {
  Layout layout;
  double seconds = 0;       ///< of the stage's training, 0 when it is refused
  double needs_bytes = 0;   ///< when memory is the reason
  std::string refused;
};

/// Every layout of powers of two, or those that `options` leaves open, fastest first and refused ones last.
std::vector<TriedLayout> try_layouts(const StageInputs& inputs, const SimulateOptions& options);
/// Of what was refused a line each: for a number of stages whose layouts are all too large the one that comes nearest, and each other
/// reason once.
std::vector<std::string> refusals_of(const std::vector<TriedLayout>& tried, size_t most);
/// The fewest ranks, whole nodes where there are several, that hold the weights and the cache while sampling. Throws Error when none do.
SamplerLayout fewest_for_sampling(const StageInputs& inputs, const SimulateOptions& options);

/// One number of the inputs that is not known for sure.
struct Assumption {
  std::string text, source;  ///< "published", "assumed", "fitted"
  std::function<void(StageInputs&, double)> scale;
};
std::vector<Assumption> assumptions_of(const StageInputs& inputs);

/// What the run would be without one of the things that make it fast, or with another choice.
struct Alternative {
  std::string text;
  std::function<void(StageInputs&)> change;
};
std::vector<Alternative> alternatives_of(const StageInputs& inputs);

}  // namespace r1::pipeline
