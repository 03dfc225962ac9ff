#pragma once
#include "r1/data/problem_source.h"
#include "r1/train/scored_group.h"
#include "r1/train/stage.h"

namespace r1::train {

/// A stage of kind `rejection_sample`: no training, its output is data for later stages.
struct RejectionConfig {
  enum class Keep { kPassing, kPairs };
  enum class Choose { kShortest, kFirst };

  rollout::SamplingConfig sampling;   ///< `sampling:`
  rollout::EngineConfig engine;       ///< `rollout:`
  int64_t prompts = 1000;             ///< training problems that are sampled from, in the stream's order
  int64_t samples = 4;                ///< completions per problem
  int64_t prompts_per_step = 64;
  Keep keep = Keep::kPassing;         ///< completions that pass, or a pair of a better and a worse one per problem
  int64_t keep_per_prompt = 1;        ///< at most so many of a problem's completions that pass
  Choose choose = Choose::kShortest;  ///< which of more: the shortest, or the first that were drawn
  std::vector<std::string> require;   ///< reward parts that must be 1; default: every part with a weight
  /// Keys as the fields (`keep: passing | pairs`, `choose: shortest | first`, `require: "accuracy, format"`).
  static RejectionConfig parse(ConfigNode node, const RewardConfig& reward);
};

/// Samples completions and keeps the right ones (arXiv:2501.12948v2, section 3.3 and appendix B.3): the data of cold
/// start, of the second SFT and of distillation.
///
/// Step t writes data/<stage>/step-00000t.jsonl.zst under the run directory, a line per kept completion:
///   {"prompt": "...", "completion": "...", "problem_id": 7, "num_tokens": 12, "rewards": {"accuracy": 1.0}}
/// With `keep: pairs` a problem's completions of the largest and of the smallest total reward (of several the first drawn)
/// are the preference that a reward_model stage learns from; a problem whose rewards are all equal has none:
///   {"prompt": "...", "chosen": "...", "rejected": "...", "problem_id": 7, "margin": 1.2}
/// The last step throws Error when nothing at all was kept.
class RejectionStage : public Stage {
 public:
  RejectionStage(StageContext context, RejectionConfig config, Reward reward, const ProblemSet& problems);
  ~RejectionStage() override;

  int64_t total_steps() const override;
  int64_t steps_done() const override { return step_; }
  Metrics advance() override;
  std::string progress_note() const override;
  Metrics evaluate_if_due() override { return {}; }
  std::vector<CheckpointGroup> checkpoint_groups() override { return {}; }
  nlohmann::json checkpoint_state() const override;
  void restore(const CheckpointReader& reader) override;
  nlohmann::json summary() const override;
  Usage usage() const override;

 private:
  bool keeps(const Score& score) const;

  StageContext context_;
  RejectionConfig config_;
  Reward reward_;
  ProblemStream stream_;
  std::unique_ptr<rollout::Engine> engine_;
  ScoringSeconds seconds_;
  int64_t step_ = 0, generated_tokens_ = 0;
  int64_t sampled_ = 0, passed_ = 0, kept_ = 0, solved_ = 0;  ///< completions, those that pass, kept; problems with one
};

}  // namespace r1::train
