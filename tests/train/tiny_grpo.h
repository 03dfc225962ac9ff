#pragma once
// A GRPO stage of three sums with zero, small enough for the emulated device.
#include "r1/train/grpo_stage.h"
#include "tiny_stage.h"

namespace r1::train::test {

inline std::unique_ptr<GrpoStage> tiny_grpo(const StageContext& context, const std::vector<std::string>& overrides) {
  const auto config = GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 3
prompts_per_step: 3
group_size: 4
micro_batch_tokens: 40
schedule: {lr: 1.0e-2}
loss: {kl_coef: 0.01, clip_low: 0.2, clip_high: 0.28}
sampling: {temperature: 0.8, max_completion_tokens: 4}
)",
                                                                    "stage.yaml", overrides));
  ProblemSet problems;
  for (int a = 0; a < 3; ++a) problems.train.push_back({a, cat(a, "+0="), cat(a), "arithmetic", {}});
  const auto reward = ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml");
  return std::make_unique<GrpoStage>(context, config, Reward(RewardConfig::parse(reward)), problems);
}

}  // namespace r1::train::test
