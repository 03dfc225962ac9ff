#pragma once
#include "r1/algo/advantages.h"
#include "r1/algo/grpo_loss.h"
#include "r1/data/problem_source.h"
#include "r1/train/evaluation.h"
#include "r1/train/mtp.h"
#include "r1/train/preference_model.h"
#include "r1/train/rollout_log.h"
#include "r1/train/scored_group.h"
#include "r1/train/stage.h"

namespace r1::train {

/// `longer:` another limit of a completion's length from some update on (R1-Zero: 65,536 tokens after update 8,200).
struct LongerConfig {
  int64_t after_step = 0;             ///< rollouts that begin after so many updates; 0: never
  int64_t max_completion_tokens = 0;
  static LongerConfig parse(ConfigNode node, const rollout::SamplingConfig& sampling);
};

/// The `preference:` section: a reward model's score as one more part of the reward, in the last steps only, since it is
/// what a policy learns to cheat (arXiv:2501.12948v2, section 3.2.2: the final 400 of 1,700 steps).
struct PreferenceConfig {
  std::string stage;       ///< an earlier stage of kind reward_model; the part bears its name
  double weight = 1;       ///< of sigmoid(r)
  int64_t last_steps = 0;  ///< so many updates at the end; 0: all
};

/// A stage of kind `grpo`. Defaults are R1's where it names one (arXiv:2501.12948v2).
struct GrpoStageConfig {
  UpdateConfig update;
  algo::GrpoLossConfig loss;          ///< `loss:`
  algo::AdvantageConfig advantage;    ///< `advantage:`
  rollout::SamplingConfig sampling;   ///< `sampling:`
  LongerConfig longer;                ///< `longer:`
  MtpConfig mtp{.loss_weight = 1.0};  ///< `mtp:`
  rollout::EngineConfig engine;       ///< `rollout:`
  EvalConfig eval;                    ///< `eval:`
  int64_t steps = 100;                ///< optimizer updates
  int64_t prompts_per_step = 32;      ///< prompts that one update trains on
  int64_t group_size = 16;            ///< G: completions per prompt
  int64_t steps_per_rollout = 1;      ///< updates that use one rollout, whose last one's data is that many - 1 updates old;
                                      ///< the stage's last rollout serves what is left of `steps`
  int64_t reference_every_steps = 0;  ///< the reference becomes the policy after so many updates; 0: never
  bool dynamic_sampling = false;      ///< DAPO: sample on until every group has mixed rewards
  int64_t dynamic_sampling_rounds = 4;  ///< at most so many times the prompts
  std::optional<PreferenceConfig> preference;  ///< `preference:`
  bool share_prompts = true;          ///< compute a group's prompt once in training
  bool log_rollouts = true;           ///< rollouts/*.jsonl.zst
  static GrpoStageConfig parse(ConfigNode node);
  /// How a rollout that begins after `step` updates samples.
  rollout::SamplingConfig sampling_after(int64_t step) const;
};

/// GRPO on verifiable rewards: DeepSeekMath (arXiv:2402.03300) Algorithm 1 with one iteration per rollout set.
///
/// An MTP module learns beside it from the sampled completions, with an optimizer of its own and no gradient to the trunk: its drafts
/// follow the policy, whose own updates are the same bits as without it.
class GrpoStage : public Stage {
 public:
  /// `preference` is there when config.preference is.
  GrpoStage(StageContext context, GrpoStageConfig config, Reward reward, ProblemSet problems,
            std::optional<PreferenceModel> preference = std::nullopt);
  ~GrpoStage() override;

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
  struct Sampled;  // one prompt's group with what was decided about it
  std::vector<Sampled> collect(int64_t updates, Metrics& metrics);
  std::vector<Sampled> sample_and_score(int64_t num_prompts);
  void update(const std::vector<Sampled>& groups, int64_t first, int64_t count, Metrics& metrics);
  void update_empty(int64_t micro_batch);
  void log_rollouts(const std::vector<Sampled>& groups) const;
  void replace_reference();
  double exposed_s() const;

  StageContext context_;
  GrpoStageConfig config_;
  Reward reward_;
  Evaluator evaluator_;
  ProblemStream stream_;
  std::optional<PreferenceModel> preference_;
  model::Transformer reference_{nullptr};
  AdamW optimizer_;
  std::optional<AdamW> mtp_optimizer_;
  ExpertBalance experts_;
  std::unique_ptr<rollout::Engine> engine_;
  int64_t step_ = 0, cursor_ = 0, reference_step_ = 0;
  int64_t generated_tokens_ = 0, trained_tokens_ = 0;
  ScoringSeconds seconds_;
  double update_s_ = 0;
  model::PassCounts training_, reference_passes_;
  double largest_logprob_error_ = 0;
  std::string note_;
};

}  // namespace r1::train
