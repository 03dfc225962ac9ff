#include "stage_graph.h"

#include <gtest/gtest.h>

namespace r1::report {
namespace {

std::string inputs_of(const StageRecord& stage) {
  std::string out;
  for (const auto& input : stage.inputs) out += (out.empty() ? "" : " ") + input.key + "=" + input.stage;
  return out;
}

TEST(StageGraph, FollowsWeightsAndTexts) {
  const auto stages = read_stage_graph(ConfigNode::parse_text(R"(
pipeline:
  - {name: start, kind: pretrain, steps: 5}
  - {name: zero, kind: grpo, steps: 1_000}
  - {name: data, kind: rejection_sample, prompts: 130, prompts_per_step: 64}
  - {name: sft, kind: sft, from: start, steps: 3, data: {kind: mixture, sources: [{kind: stage, stage: data}, {kind: jsonl, file: zero.jsonl}]}}
  - {name: rl, kind: grpo, steps: 2}
  - {name: student, kind: pretrain, from: base, steps: 1}
  - {name: judge, kind: later_kind, looks_at: rl}
  - {name: last, kind: grpo, from: rl, steps: 2, preference: {stage: judge, weight: 0.3}, reward_weights: {format: 0}}
)",
                                                              "test"));
  ASSERT_EQ(stages.size(), 8U);
  EXPECT_EQ(inputs_of(stages[0]), "from=base");
  EXPECT_EQ(inputs_of(stages[1]), "from=start");
  EXPECT_EQ(stages[1].steps_total, 1000);
  EXPECT_EQ(inputs_of(stages[2]), "from=zero");
  EXPECT_EQ(stages[2].steps_total, 3);
  EXPECT_EQ(inputs_of(stages[3]), "from=start data.sources.0.stage=data");
  EXPECT_EQ(inputs_of(stages[4]), "from=sft");
  EXPECT_EQ(inputs_of(stages[5]), "from=base");
  EXPECT_EQ(inputs_of(stages[6]), "from=student looks_at=rl");
  EXPECT_EQ(inputs_of(stages[7]), "from=rl preference.stage=judge");
  EXPECT_EQ(stages[7].reward_weights, (std::map<std::string, double>{{"format", 0}, {"judge", 0.3}}));
  EXPECT_TRUE(stages[4].reward_weights.empty());
}

TEST(StageGraph, ReadsTheRewardParts) {
  const auto parts = read_reward_parts(ConfigNode::parse_text(
      "reward: {parts: {b: {kind: format, weight: 0.5}, a: {kind: exact_answer}}}", "test"));
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0].name, "b");
  EXPECT_EQ(parts[0].weight, 0.5);
  EXPECT_EQ(parts[1].kind, "exact_answer");
  EXPECT_EQ(parts[1].weight, 1);
  EXPECT_TRUE(read_reward_parts(ConfigNode::parse_text("name: x", "test")).empty());
}

}  // namespace
}  // namespace r1::report
