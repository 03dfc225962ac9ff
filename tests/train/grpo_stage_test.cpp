#include "r1/train/grpo_stage.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::copy_of;
using test::RunFolder;
using test::same_bits;
using test::tiny_model;
using test::value_of;

GrpoStageConfig config(const std::vector<std::string>& overrides = {}) {
  return GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 6
prompts_per_step: 4
group_size: 8
micro_batch_tokens: 4096
schedule: {lr: 1.0e-2}
loss: {kl_coef: 0, clip_low: 0.2, clip_high: 0.28}
sampling: {temperature: 0.8, max_completion_tokens: 6}
)",
                                                       "stage.yaml", overrides));
}

Reward last_number() {
  return Reward(RewardConfig::parse(ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml")));
}

ProblemSet sums() {
  ProblemSet set;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; a + b < 3; ++b) set.train.push_back({a * 3 + b, cat(a, "+", b, "="), cat(a + b), "arithmetic", {}});
  }
  return set;
}

/// Nothing that the model can write is right: every group's rewards are equal.
ProblemSet hopeless() {
  auto set = sums();
  for (auto& problem : set.train) problem.answer = "99999999";
  return set;
}

bool has(const Metrics& metrics, const std::string& name) {
  return std::any_of(metrics.begin(), metrics.end(), [&](const auto& m) { return m.first == name; });
}

std::vector<torch::Tensor> group_of(GrpoStage& stage, const std::string& name) {
  for (const auto& group : stage.checkpoint_groups()) {
    if (group.name != name) continue;
    std::vector<torch::Tensor> out;
    for (const auto& [key, tensor] : group.tensors) out.push_back(tensor.clone());
    return out;
  }
  return {};
}

// Paper's shape in small: the last rollout serves what is left, and later rollouts may be longer.
TEST(GrpoStage, TheLastRolloutIsShorterAndLaterCompletionsMayBeLonger) {
  const RunFolder folder("longer");
  const auto model = tiny_model();
  auto context = folder.context("grpo", model);
  GrpoStage stage(context, config({"steps=5", "steps_per_rollout=2", "longer={after_step: 3, max_completion_tokens: 9}"}), last_number(), sums());
  std::vector<double> longest;
  for (const int64_t done : {2, 4, 5}) {
    const auto metrics = stage.advance();
    EXPECT_EQ(stage.steps_done(), done);
    const auto logged = folder.path() / "rollouts" / "grpo";
    double most = 0, lines = 0;
    for (const auto& file : std::filesystem::directory_iterator(logged)) {
      read_jsonl(file.path(), [&](int64_t, const nlohmann::json& row) {
        most = std::max(most, row.at("num_tokens").get<double>());
        ++lines;
      });
    }
    longest.push_back(most);
    EXPECT_EQ(lines, static_cast<double>(done * 4 * 8));  // P prompts x G completions of every update
  }
  EXPECT_LE(longest[0], 6);
  EXPECT_LE(longest[1], 6);  // it began after update 2
  EXPECT_EQ(longest[2], 9);
  EXPECT_EQ(config({"longer={after_step: 3, max_completion_tokens: 9}"}).sampling_after(3).max_completion_tokens, 9);
  EXPECT_THROW(config({"longer={after_step: 3, max_completion_tokens: 6}"}), Error);
  EXPECT_THROW(config({"longer={after_step: 3}"}), Error);
}

TEST(GrpoStage, TheTrainerComputesTheSamplersLogprobsBitForBit) {
  const RunFolder folder("on_policy");
  for (const char* share : {"share_prompts=true", "share_prompts=false"}) {
    GrpoStage stage(folder.context("grpo", tiny_model()), config({share, "micro_batch_tokens=64"}), last_number(), sums());
    for (int i = 0; i < 6; ++i) {
      const auto metrics = stage.advance();
      EXPECT_EQ(value_of(metrics, "logprob_error_max"), 0.0) << share << " step " << i + 1;
      EXPECT_EQ(value_of(metrics, "ratio_max"), 1.0);
      EXPECT_GT(value_of(metrics, "reward"), 0.0);
      EXPECT_GT(value_of(metrics, "grad_norm"), 0.0);
      EXPECT_EQ(value_of(metrics, "generated_tokens"), value_of(metrics, "completion_tokens_mean") * 32);
    }
    EXPECT_EQ(stage.summary().at("largest_logprob_error"), 0.0);
  }
}

TEST(GrpoStage, AMixturesRoutesAndLogprobsAreTheSamplers) {
  const RunFolder folder("mixture");
  for (const char* share : {"share_prompts=true", "share_prompts=false"}) {
    const auto model = test::tiny_mixture();
    GrpoStage stage(folder.context("grpo", model), config({share, "micro_batch_tokens=64", "experts={bias_rate: 0.01}"}), last_number(), sums());
    double gradients = 0;  // a step whose rewards are all equal has none
    for (int i = 0; i < 6; ++i) {
      const auto metrics = stage.advance();
      EXPECT_EQ(value_of(metrics, "logprob_error_max"), 0.0) << share << " step " << i + 1;
      EXPECT_EQ(value_of(metrics, "routes_differing"), 0.0);
      EXPECT_GE(value_of(metrics, "expert_load_max"), 1.0);
      gradients += value_of(metrics, "grad_norm");
    }
    EXPECT_GT(gradients, 0.0);
    EXPECT_GT(model->expert_layers()[0]->gate->e_score_correction_bias.abs().max().item<float>(), 0);
  }
}

// The second update of a rollout meets weights that the sampler did not have: some routes move, unless they are replayed.
TEST(GrpoStage, ReplayedRoutesStayTheSamplers) {
  for (const bool replay : {false, true}) {
    const RunFolder folder("replay");
    GrpoStage stage(folder.context("grpo", test::tiny_mixture()),
                    config({"steps_per_rollout=3", "schedule={lr: 3.0e-2}", cat("experts={routing_replay: ", replay ? "true" : "false", "}")}),
                    last_number(), sums());
    const double differing = value_of(stage.advance(), "routes_differing");
    if (replay) {
      EXPECT_EQ(differing, 0.0);
    } else {
      EXPECT_GT(differing, 0.0);
    }
  }
}

TEST(GrpoStage, MicroBatchSizeAndSharingChangeNoRolloutAndTheUpdateByRounding) {
  std::string rollouts;
  std::vector<torch::Tensor> weights;
  for (const auto& form : {"micro_batch_tokens=4096", "micro_batch_tokens=64", "share_prompts=false"}) {
    const RunFolder folder("micro");
    const auto model = tiny_model();
    const auto before = copy_of(model);
    GrpoStage stage(folder.context("grpo", model), config({form}), last_number(), sums());
    stage.advance();
    const auto text = read_zstd(folder.path() / "rollouts" / "grpo" / "step-000001.jsonl.zst");
    const auto after = copy_of(model);
    EXPECT_FALSE(same_bits(before, after));
    if (rollouts.empty()) {
      rollouts = text;
      weights = after;
      continue;
    }
    EXPECT_EQ(text, rollouts) << form;
    // AdamW's first step moves every weight by about lr whatever the gradient's size, so rounding shows where it is tiny.
    double sum = 0, count = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      sum += (after[i] - weights[i]).abs().sum().item<double>();
      count += static_cast<double>(weights[i].numel());
    }
    EXPECT_LE(sum / count, 1e-4 * 1e-2) << form;
  }
}

TEST(GrpoStage, EqualRewardsGiveNoGradientAtAll) {
  const RunFolder folder("equal");
  const auto model = tiny_model();
  const auto before = copy_of(model);
  GrpoStage stage(folder.context("grpo", model), config(), last_number(), hopeless());
  const auto metrics = stage.advance();
  EXPECT_EQ(value_of(metrics, "reward"), 0.0);
  EXPECT_EQ(value_of(metrics, "all_wrong_groups"), 1.0);
  EXPECT_EQ(value_of(metrics, "grad_norm"), 0.0);
  EXPECT_EQ(value_of(metrics, "policy_loss"), 0.0);
  EXPECT_TRUE(same_bits(before, copy_of(model)));
  EXPECT_EQ(stage.steps_done(), 1);
}

TEST(GrpoStage, TheReferenceBecomesThePolicyWhenItIsDue) {
  const RunFolder folder("reference");
  const auto model = tiny_model();
  const auto start = copy_of(model);
  GrpoStage stage(folder.context("grpo", model), config({"loss.kl_coef=0.1", "reference_every_steps=2"}), last_number(), sums());
  EXPECT_EQ(value_of(stage.advance(), "kl"), 0.0);  // of equal models
  EXPECT_TRUE(same_bits(group_of(stage, "reference"), start));
  EXPECT_FALSE(same_bits(copy_of(model), start));
  EXPECT_GT(value_of(stage.advance(), "kl"), 0.0);
  EXPECT_TRUE(same_bits(group_of(stage, "reference"), copy_of(model)));
  EXPECT_EQ(stage.checkpoint_state().at("reference_step"), 2);
  EXPECT_EQ(value_of(stage.advance(), "kl"), 0.0);
  EXPECT_FALSE(same_bits(group_of(stage, "reference"), copy_of(model)));
}

TEST(GrpoStage, WithoutKlThereIsNoReference) {
  const RunFolder folder("no_reference");
  GrpoStage stage(folder.context("grpo", tiny_model()), config(), last_number(), sums());
  EXPECT_EQ(stage.checkpoint_groups().size(), 2u);
}

TEST(GrpoStage, DynamicSamplingGoesOnUntilEveryGroupIsMixed) {
  const RunFolder folder("dynamic");
  GrpoStage stage(folder.context("grpo", tiny_model()), config({"dynamic_sampling=true", "dynamic_sampling_rounds=50", "group_size=2"}), last_number(),
                  sums());
  for (int i = 0; i < 3; ++i) {
    const auto metrics = stage.advance();
    EXPECT_EQ(value_of(metrics, "kept_groups"), 4.0);
    EXPECT_EQ(value_of(metrics, "logprob_error_max"), 0.0);
    const double rounds = value_of(metrics, "sampling_rounds");
    EXPECT_GE(rounds, 1.0);
    EXPECT_LE(value_of(metrics, "discarded_groups"), 4 * rounds - 4);
    EXPECT_GT(value_of(metrics, "discarded_groups"), 4 * (rounds - 2));
  }
}

TEST(GrpoStage, DynamicSamplingEndsWhenNoGroupIsEverMixed) {
  const RunFolder folder("dynamic_end");
  const auto model = tiny_model();
  const auto before = copy_of(model);
  GrpoStage stage(folder.context("grpo", model), config({"dynamic_sampling=true", "dynamic_sampling_rounds=3"}), last_number(), hopeless());
  const auto metrics = stage.advance();
  EXPECT_EQ(value_of(metrics, "sampling_rounds"), 3.0);
  EXPECT_EQ(value_of(metrics, "kept_groups"), 0.0);
  EXPECT_EQ(value_of(metrics, "discarded_groups"), 12.0);
  EXPECT_TRUE(same_bits(before, copy_of(model)));
  EXPECT_EQ(stage.steps_done(), 1);
  EXPECT_EQ(stage.checkpoint_state().at("cursor"), 12);
}

TEST(GrpoStage, OneRolloutCanServeTwoUpdates) {
  const RunFolder folder("two_updates");
  GrpoStage stage(folder.context("grpo", tiny_model()), config({"steps_per_rollout=2"}), last_number(), sums());
  const auto metrics = stage.advance();
  EXPECT_EQ(stage.steps_done(), 2);
  EXPECT_EQ(value_of(metrics, "logprob_error_max"), 0.0);  // of the first update, on on-policy data
  EXPECT_GT(value_of(metrics, "ratio_max"), 1.0);          // of the second, whose data is one update old
  EXPECT_EQ(stage.checkpoint_state().at("cursor"), 8);
  EXPECT_TRUE(has(metrics, "loss"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "rollouts" / "grpo" / "step-000001.jsonl.zst"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "rollouts" / "grpo" / "step-000002.jsonl.zst"));
}

TEST(GrpoStage, ALossThatIsNotFiniteStopsTheRunAndChangesNothing) {
  const RunFolder folder("nan");
  const auto model = tiny_model();
  // The reference alone is broken, so that sampling works and the loss does not.
  GrpoStage stage(folder.context("r1_zero", model), config({"loss.kl_coef=0.1"}), last_number(), sums());
  stage.advance();
  for (const auto& group : stage.checkpoint_groups()) {
    if (group.name == "reference") group.tensors[2].second.flatten()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto before = copy_of(model);
  try {
    stage.advance();
    FAIL() << "no error";
  } catch (const Error& error) {
    const auto file = folder.path() / "rollouts" / "r1_zero-failed-step-2.json";
    const std::string text = error.what();
    EXPECT_NE(text.find("step 2"), std::string::npos) << text;
    EXPECT_NE(text.find(file.string()), std::string::npos) << text;
    EXPECT_TRUE(std::filesystem::exists(file));
  }
  EXPECT_TRUE(same_bits(before, copy_of(model)));
  EXPECT_EQ(stage.steps_done(), 1);
}

TEST(GrpoStage, BrokenWeightsStopTheRunToo) {
  const RunFolder folder("nan_weight");
  const auto model = tiny_model();
  GrpoStage stage(folder.context("r1_zero", model), config(), last_number(), sums());
  {
    const torch::NoGradGuard no_grad;
    model->parameters()[3].flatten()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto before = copy_of(model);
  EXPECT_THROW(stage.advance(), Error);
  EXPECT_TRUE(same_bits(before, copy_of(model)));
  EXPECT_EQ(stage.steps_done(), 0);
}

}  // namespace
}  // namespace r1::train
