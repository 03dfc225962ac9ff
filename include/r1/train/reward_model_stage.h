#pragma once
#include "r1/data/preference_examples.h"
#include "r1/train/preference_model.h"
#include "r1/train/stage.h"

namespace r1::train {

/// A stage of kind `reward_model`.
struct RewardModelConfig {
  enum class Loss { kPairwise, kPointwise };

  UpdateConfig update;
  Loss loss = Loss::kPairwise;  ///< `loss: pairwise | pointwise`
  int64_t steps = 100;
  int64_t examples_per_step = 64;
  double eval_fraction = 0.1;  ///< share of the prompts whose examples are held out
  static RewardModelConfig parse(ConfigNode node);
};

/// Trains a PreferenceModel on preferences. With r the scalar score, per example of a step of n:
///
///   pairwise   L = - log sigmoid(r(x, chosen) - r(x, rejected)) / n              (Bradley-Terry)
///   pointwise  L = - [log sigmoid(r(x, good)) or log sigmoid(- r(x, bad))] / n   (a pair counts as one of each)
///
/// DeepSeek-R1 (arXiv:2501.12948v2, section 3.1) trains its helpful reward model on pairs and its safety reward model
/// point by point; the pairwise loss is InstructGPT's (arXiv:2203.02155) eq. (1).
///
/// The held-out examples are judged before and after: eval_loss, and eval_accuracy, the share of pairs whose chosen text
/// has the higher score (equal scores count one half) or of texts on the right side of 0.
class RewardModelStage : public Stage {
 public:
  /// Throws Error when there is nothing to train on, or when a pairwise loss meets an example that is no pair.
  RewardModelStage(StageContext context, RewardModelConfig config, std::vector<PreferenceExample> examples);
  ~RewardModelStage() override;

  int64_t total_steps() const override { return config_.steps; }
  int64_t steps_done() const override { return step_; }
  Metrics advance() override;
  std::string progress_note() const override;
  Metrics evaluate_if_due() override;
  std::vector<CheckpointGroup> checkpoint_groups() override;
  nlohmann::json checkpoint_state() const override;
  void restore(const CheckpointReader& reader) override;
  nlohmann::json summary() const override;
  Usage usage() const override;

 private:
  struct Pass;
  Pass run(const std::vector<PreferenceExample>& examples, bool backward);

  StageContext context_;
  RewardModelConfig config_;
  PreferenceSet examples_;
  PreferenceModel model_;
  AdamW optimizer_;
  int64_t step_ = 0, tokens_ = 0;
  double last_loss_ = 0, last_accuracy_ = 0, last_tokens_per_s_ = 0, eval_s_ = 0;
  Usage usage_;
  nlohmann::json evaluations_ = nlohmann::json::array();
};

}  // namespace r1::train
