#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "r1/algo/schedule.h"
#include "r1/model/transformer.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/train/checkpoint.h"
#include "r1/train/expert_balance.h"
#include "r1/train/optimizer.h"
#include "r1/train/sharing.h"
#include "r1/train/usage.h"
#include "r1/util/config.h"

namespace r1::train {

/// What every stage works on.
struct StageContext {
  std::string stage;              ///< its name: part of every draw and of its metrics
  std::filesystem::path run_dir;
  uint64_t seed = 0;
  model::Transformer model{nullptr};
  Tokenizer tokenizer;
  bool show_progress = true;
  Sharing sharing = {};            ///< with the other ranks of the job
};

/// Settings that all training stages share: keys of the stage's own section.
struct UpdateConfig {
  AdamWConfig optimizer;              ///< `optimizer:`
  algo::LrSchedule schedule;          ///< `schedule:`
  int64_t micro_batch_tokens = 2048;  ///< packed tokens computed at once: memory; changes results by rounding only
  bool activation_checkpointing = false;
  ExpertConfig experts;               ///< `experts:`, read by the stages that train experts
  static UpdateConfig parse(ConfigNode& node);
};

using Metrics = std::vector<std::pair<std::string, double>>;

/// Over several ranks each has a Stage of its own and calls the same functions in the same order. Figures, state and summary are
/// those of the whole step, equal on all of them but for times; files other than checkpoints are the first rank's.
///
/// One training stage: text (pre-training, SFT) or GRPO. The loop around it, stage_loop.h, owns checkpoints and metrics.
class Stage {
 public:
  virtual ~Stage() = default;
  virtual int64_t total_steps() const = 0;  ///< optimizer updates
  virtual int64_t steps_done() const = 0;
  /// Goes on by one unit (one or several updates) and returns its figures. Throws Error when a loss or gradient is not
  /// finite; the weights are then those before the failing update.
  virtual Metrics advance() = 0;
  virtual std::string progress_note() const = 0;
  /// Evaluation on the held-out problems when it is due now; empty otherwise.
  virtual Metrics evaluate_if_due() = 0;
  /// Everything that the next step depends on; tensors share storage with the stage.
  virtual std::vector<CheckpointGroup> checkpoint_groups() = 0;
  virtual nlohmann::json checkpoint_state() const = 0;
  virtual void restore(const CheckpointReader& reader) = 0;
  /// Figures for the closing table, by name.
  virtual nlohmann::json summary() const = 0;
  /// What it has spent: for the ledger, which takes differences; after restore() sums may begin anywhere.
  virtual Usage usage() const = 0;
};

/// Reports a loss or gradient that is not finite, which all ranks find alike: the first writes `batch` beside the run's rollouts and
/// throws Error naming step and file, the others dist::FailedElsewhere.
[[noreturn]] void fail_not_finite(const StageContext& context, int64_t step, const std::string& what,
                                  const nlohmann::json& batch);

/// Warns when an update has fewer micro-batches than there are ranks, so that some have nothing to compute.
void warn_of_idle_ranks(const StageContext& context, int64_t micro_batches);

/// The model's parameters as an optimizer takes them: the trunk's, those of the MTP module, or both.
enum class Part { kTrunk, kMtp, kAll };
/// All in order; undefined where experts are dealt and another rank has them.
NamedTensors trainable_parameters(const model::Transformer& model, Part part = Part::kTrunk);
/// Of all experts of this rank; none unless experts are dealt.
ExpertLeaves expert_leaves(const model::Transformer& model);

/// A model in a checkpoint, or another network that is trained with it, as the group `name`. `parts`: its tensors, with the
/// optimizers' masters.
CheckpointGroup model_group(const std::string& name, const model::Transformer& model, TensorParts parts);
/// Reads a model back into `parts`, of whatever rank count. Throws Error as CheckpointReader::load_group.
void load_model_group(const CheckpointReader& reader, const std::string& name, const model::Transformer& model, TensorParts parts);

/// A pass of no token, with its backward pass where gradients are enabled: what a rank does whose micro-batches have run out while others
/// go on, where experts are dealt (docs/experts_parallel.md). `mtp`: also through the MTP module.
void empty_pass(model::Transformer& model, std::optional<model::MtpGradient> mtp);

}  // namespace r1::train
