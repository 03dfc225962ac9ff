// Stages over ranks: in exact mode 1, 2, 3 and 4 ranks give the same bits, in fast mode the same numbers up to rounding.
#include <gtest/gtest.h>

#include "rank_jobs.h"

namespace r1::train {
namespace {

using test::expect_equal;
using test::Job;
using test::same_bits;
using test::train_grpo;
using test::train_texts;

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
  const auto run = [](const Job& job) { return test::train_reward_model(job, [] { return test::tiny_model(); }); };
  const auto one = run({1});
  for (const int ranks : {2, 3}) expect_equal(one, run({ranks}), cat(ranks, " ranks"));
}

}  // namespace
}  // namespace r1::train
