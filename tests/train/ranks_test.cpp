// Stages over ranks: in exact mode 1, 2, 3 and 4 ranks give the same bits, in fast mode the same numbers up to rounding.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "r1/train/grpo_stage.h"
#include "r1/train/reward_model_stage.h"
#include "r1/train/text_stage.h"
#include "r1/util/jsonl.h"
#include "support/thread_ranks.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::copy_of;
using test::RunFolder;
using test::same_bits;
using test::value_of;

/// What a job of some ranks has come to.
struct Outcome {
  std::vector<torch::Tensor> weights;  ///< of rank 0, after every rank's were found equal
  std::vector<double> losses, rewards;
  std::vector<std::string> texts;  ///< sampled, in the order of the log
  int64_t optimizer_elements = 0;  ///< m and v of rank 0
};

struct Job {
  int ranks = 1;
  Numerics numerics = Numerics::kExact;
  bool zero = false;
};

/// `run` on every rank, with a stage's context of its own.
Outcome train(const Job& job, const std::function<model::Transformer()>& make_model,
              const std::function<void(const StageContext&, Outcome&)>& run) {
  const RunFolder folder("ranks");
  std::vector<Outcome> outcomes(static_cast<size_t>(job.ranks));
  r1::test::run_ranks(job.ranks, [&](std::shared_ptr<dist::Communicator> ranks) {
    torch::set_num_threads(1);
    auto context = folder.context("stage", make_model());
    context.sharing = {ranks, job.numerics, job.zero};
    auto& outcome = outcomes[static_cast<size_t>(ranks->rank())];
    run(context, outcome);
    outcome.weights = copy_of(context.model);
  });
  for (int r = 1; r < job.ranks; ++r) {
    const auto& other = outcomes[static_cast<size_t>(r)];
    EXPECT_TRUE(same_bits(other.weights, outcomes[0].weights)) << "ranks 0 and " << r << " of " << job.ranks << " have other weights";
    EXPECT_EQ(other.losses, outcomes[0].losses);
    EXPECT_EQ(other.rewards, outcomes[0].rewards);
  }
  const auto logged = folder.path() / "rollouts" / "stage";
  if (std::filesystem::exists(logged)) {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(logged)) files.push_back(file.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      read_jsonl(file, [&](int64_t, const nlohmann::json& row) { outcomes[0].texts.push_back(row.at("text")); });
    }
  }
  return outcomes[0];
}

Outcome train_texts(const Job& job, int64_t micro_batch_tokens, const std::function<model::Transformer()>& make_model = [] { return test::tiny_model(); }) {
  return train(job, make_model, [&](const StageContext& context, Outcome& outcome) {
    TextStageConfig c;
    c.steps = 12;
    c.texts_per_step = 13;
    c.update.schedule.lr = 1e-2;
    c.update.micro_batch_tokens = micro_batch_tokens;
    const auto text = [](int64_t i) { return TextExample{cat(i % 3, "+", i % 2, "="), std::string(static_cast<size_t>(1 + i % 5), '1')}; };
    TextStage stage(context, c, text);
    while (stage.steps_done() < stage.total_steps()) outcome.losses.push_back(value_of(stage.advance(), "loss"));
    for (const auto& group : stage.checkpoint_groups()) {
      if (group.name != "optimizer") continue;
      for (const auto& [name, tensor] : group.tensors) outcome.optimizer_elements += tensor.numel();
      for (const auto& slice : group.slices) outcome.optimizer_elements += slice.values.numel();
    }
  });
}

Outcome train_grpo(const Job& job, const std::function<model::Transformer()>& make_model, const std::vector<std::string>& overrides = {}) {
  return train(job, make_model, [&](const StageContext& context, Outcome& outcome) {
    const auto config = GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 6
prompts_per_step: 5
group_size: 4
micro_batch_tokens: 40
schedule: {lr: 1.0e-2}
loss: {kl_coef: 0.001, clip_low: 0.2, clip_high: 0.28}
rollout: {max_batch: 8}
sampling: {temperature: 0.8, max_completion_tokens: 6}
)",
                                                                      "stage.yaml", overrides));
    ProblemSet problems;
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; a + b < 3; ++b) problems.train.push_back({a * 3 + b, cat(a, "+", b, "="), cat(a + b), "arithmetic", {}});
    }
    problems.eval = problems.train;
    Reward reward(RewardConfig::parse(ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml")));
    GrpoStage stage(context, config, reward, problems);
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_accuracy"));
    while (stage.steps_done() < stage.total_steps()) {
      const auto figures = stage.advance();
      outcome.losses.push_back(value_of(figures, "loss"));
      outcome.rewards.push_back(value_of(figures, "reward"));
      EXPECT_EQ(value_of(figures, "logprob_error_max"), job.numerics == Numerics::kExact ? 0 : value_of(figures, "logprob_error_max"));
    }
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_accuracy"));
  });
}

void expect_equal(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_TRUE(same_bits(a.weights, b.weights)) << what;
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.rewards, b.rewards) << what;
  EXPECT_EQ(a.texts, b.texts) << what;
}

TEST(Ranks, TextStagesEndInTheSameBitsOnAnyNumberOfRanks) {
  // 13 texts: several, seven uneven, and one micro-batch, which leaves ranks without any.
  for (const int64_t tokens : {16, 30, 4096}) {
    const auto one = train_texts({1}, tokens);
    for (const int ranks : {2, 3, 4}) {
      expect_equal(one, train_texts({ranks}, tokens), cat(ranks, " ranks, micro-batches of ", tokens));
      expect_equal(one, train_texts({ranks, Numerics::kExact, true}, tokens), cat(ranks, " ranks with ZeRO-1, micro-batches of ", tokens));
    }
  }
}

TEST(Ranks, MixturesEndInTheSameBitsOnAnyNumberOfRanks) {
  const auto make = [] { return test::with_mtp(test::tiny_mixture()); };
  const auto one = train_texts({1}, 30, make);
  for (const int ranks : {2, 3}) expect_equal(one, train_texts({ranks}, 30, make), cat(ranks, " ranks"));
}

TEST(Ranks, ZeroKeepsAPartOfTheOptimizersState) {
  const auto whole = train_texts({1}, 30).optimizer_elements, part = train_texts({4, Numerics::kExact, true}, 30).optimizer_elements;
  EXPECT_LT(part, whole / 2);
  EXPECT_GT(part, whole / 8);
}

TEST(Ranks, FastSumsAgreeToRounding) {
  const auto one = train_texts({1, Numerics::kFast}, 30);
  for (const int ranks : {2, 3, 4}) {
    for (const bool zero : {false, true}) {
      const auto other = train_texts({ranks, Numerics::kFast, zero}, 30);
      ASSERT_EQ(other.losses.size(), one.losses.size());
      for (size_t i = 0; i < one.losses.size(); ++i) EXPECT_NEAR(other.losses[i], one.losses[i], 1e-5 * one.losses[i]) << ranks << " ranks, step " << i;
    }
    EXPECT_FALSE(same_bits(one.weights, train_texts({ranks, Numerics::kFast}, 30).weights)) << "so the bits of exact mode are no accident";
    // The same bits again: no sum depends on the order of arrival.
    expect_equal(train_texts({ranks, Numerics::kFast}, 30), train_texts({ranks, Numerics::kFast, true}, 30), cat(ranks, " ranks, with and without ZeRO-1"));
  }
}

TEST(Ranks, GrpoGivesTheSameTextsAndWeightsOnAnyNumberOfRanks) {
  const auto make = [] { return test::tiny_model(); };
  const auto one = train_grpo({1}, make);
  EXPECT_EQ(one.texts.size(), 6u * 5 * 4);
  for (const int ranks : {2, 3, 4}) {
    expect_equal(one, train_grpo({ranks}, make), cat(ranks, " ranks"));
    expect_equal(one, train_grpo({ranks, Numerics::kExact, true}, make), cat(ranks, " ranks with ZeRO-1"));
  }
}

TEST(Ranks, GrpoOnAMixtureWithDraftsGivesTheSameTextsAndWeights) {
  const auto make = [] { return test::with_mtp(test::tiny_mixture()); };
  const std::vector<std::string> settings{"dynamic_sampling=true", "steps_per_rollout=2"};
  const auto one = train_grpo({1}, make, settings);
  for (const int ranks : {2, 3}) expect_equal(one, train_grpo({ranks}, make, settings), cat(ranks, " ranks"));
}

TEST(Ranks, FastGrpoDealsPromptsInTurn) {
  const auto make = [] { return test::tiny_model(); };
  const auto one = train_grpo({1, Numerics::kFast}, make), two = train_grpo({2, Numerics::kFast}, make);
  EXPECT_EQ(std::vector(one.texts.begin(), one.texts.begin() + 20), std::vector(two.texts.begin(), two.texts.begin() + 20));
  for (size_t i = 0; i < one.losses.size(); ++i) EXPECT_NEAR(one.losses[i], two.losses[i], 1e-5);
}

TEST(Ranks, RewardModelsEndInTheSameBits) {
  const auto run = [](const Job& job) {
    return train(job, [] { return test::tiny_model(); }, [](const StageContext& context, Outcome& outcome) {
      RewardModelConfig c;
      c.steps = 5;
      c.examples_per_step = 6;
      c.eval_fraction = 0.3;
      c.update.schedule.lr = 1e-2;
      c.update.micro_batch_tokens = 20;
      std::vector<PreferenceExample> pairs;
      for (int i = 0; i < 12; ++i) pairs.push_back({cat(i % 3, "+", i % 2, "="), std::string(static_cast<size_t>(1 + i % 3), '2'), "00"});
      RewardModelStage stage(context, c, pairs);
      outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_loss"));
      while (stage.steps_done() < stage.total_steps()) outcome.losses.push_back(value_of(stage.advance(), "loss"));
      outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_loss"));
    });
  };
  const auto one = run({1});
  for (const int ranks : {2, 3}) expect_equal(one, run({ranks}), cat(ranks, " ranks"));
}

}  // namespace
}  // namespace r1::train
