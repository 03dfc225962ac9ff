#include "r1/algo/advantages.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

namespace r1::algo {
namespace {

AdvantageConfig setting(Baseline baseline, RewardStd std, double eps = 0.0) {
  AdvantageConfig c;
  c.baseline = baseline;
  c.std = std;
  c.eps = eps;
  return c;
}

void expect_row(const torch::Tensor& got, std::vector<double> expected, double tolerance = 1e-14) {
  ASSERT_EQ(got.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i].item<double>(), expected[i], tolerance) << "at " << i;
}

// rewards 1, 0, 0, 1 and 2, 0, 0, 0: means 0.5 and 0.5, population std 0.5 and sqrt(3)/2, sample std
// 1/sqrt(3) and 1
const auto kRewards = [] {
  return torch::tensor({{1.0, 0.0, 0.0, 1.0}, {2.0, 0.0, 0.0, 0.0}}, torch::kDouble);
};

TEST(GroupAdvantages, HandComputedNumbers) {
  const double root3 = std::sqrt(3.0);
  const auto population = group_advantages(kRewards(), setting(Baseline::kMean, RewardStd::kPopulation));
  expect_row(population[0], {1, -1, -1, 1});
  expect_row(population[1], {root3, -1 / root3, -1 / root3, -1 / root3});
  const auto sample = group_advantages(kRewards(), setting(Baseline::kMean, RewardStd::kSample));
  expect_row(sample[0], {root3 / 2, -root3 / 2, -root3 / 2, root3 / 2});
  expect_row(sample[1], {1.5, -0.5, -0.5, -0.5});
  const auto dr_grpo = group_advantages(kRewards(), setting(Baseline::kMean, RewardStd::kNone));
  expect_row(dr_grpo[0], {0.5, -0.5, -0.5, 0.5});
  expect_row(dr_grpo[1], {1.5, -0.5, -0.5, -0.5});
  const auto rloo = group_advantages(kRewards(), setting(Baseline::kLeaveOneOut, RewardStd::kNone));
  expect_row(rloo[0], {2.0 / 3, -2.0 / 3, -2.0 / 3, 2.0 / 3});  // 1 - (0 + 0 + 1) / 3
  expect_row(rloo[1], {2, -2.0 / 3, -2.0 / 3, -2.0 / 3});
}

TEST(GroupAdvantages, EpsIsAddedToTheStandardDeviation) {
  const auto got = group_advantages(kRewards(), setting(Baseline::kMean, RewardStd::kPopulation, 0.5));
  expect_row(got[0], {0.5, -0.5, -0.5, 0.5});
}

TEST(GroupAdvantages, EqualRewardsGiveExactlyZero) {
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {
    for (const double value : {0.0, 1.0, 0.1, 1.1, -3.7, 1e-30, 1e30}) {
      for (const int64_t group_size : {2, 3, 7, 16, 49}) {
        for (const auto baseline : {Baseline::kMean, Baseline::kLeaveOneOut}) {
          for (const auto std : {RewardStd::kNone, RewardStd::kPopulation, RewardStd::kSample}) {
            const auto rewards = torch::full({3, group_size}, value, dtype);
            EXPECT_TRUE(group_advantages(rewards, setting(baseline, std, 1e-6)).eq(0).all().item<bool>())
                << value << " times " << group_size;
            EXPECT_TRUE(group_advantages(rewards, setting(baseline, std, 0.0)).eq(0).all().item<bool>())
                << value << " times " << group_size << ", eps 0";
          }
        }
      }
    }
  }
}

// Shows that the test above can fail: without max == min the mean of equal rewards is not always the reward.
TEST(GroupAdvantages, TheMeanOfEqualRewardsIsInexactSomewhere) {
  bool inexact = false;
  for (int64_t g = 2; g < 64; ++g) {
    const auto rewards = torch::full({g}, 0.1f);
    inexact = inexact || (rewards - rewards.sum() / static_cast<double>(g)).ne(0).any().item<bool>();
  }
  EXPECT_TRUE(inexact);
}

TEST(GroupAdvantages, OnlyTheConstantGroupIsZero) {
  const auto rewards = torch::tensor({{0.1, 0.1, 0.1}, {0.1, 0.1, 0.2}}, torch::kFloat);
  const auto got = group_advantages(rewards);
  EXPECT_TRUE(got[0].eq(0).all().item<bool>());
  EXPECT_TRUE(got[1].ne(0).all().item<bool>());
  EXPECT_EQ(got.scalar_type(), torch::kFloat);
}

TEST(GroupAdvantages, ShiftAndScaleOfRewardsChangeNothing) {
  torch::manual_seed(3);
  const auto rewards = torch::randn({5, 16}, torch::kDouble);
  const auto config = setting(Baseline::kMean, RewardStd::kPopulation);
  const auto got = group_advantages(rewards, config);
  EXPECT_TRUE(torch::allclose(got, group_advantages(rewards * 7 + 3, config), 1e-12, 1e-12));
  EXPECT_TRUE(torch::allclose(got.sum(1), torch::zeros(5, torch::kDouble), 0, 1e-12));
  EXPECT_TRUE(torch::allclose((got * got).mean(1), torch::ones(5, torch::kDouble), 1e-12, 1e-12));
  EXPECT_LE(got.abs().max().item<double>(), std::sqrt(15.0));
}

TEST(GroupAdvantages, LeaveOneOutBaselineDoesNotSeeItsOwnReward) {
  torch::manual_seed(4);
  const auto rewards = torch::randn({1, 6}, torch::kDouble);
  auto changed = rewards.clone();
  changed[0][2] += 10.0;
  const auto config = setting(Baseline::kLeaveOneOut, RewardStd::kNone);
  const auto difference = group_advantages(changed, config) - group_advantages(rewards, config);
  EXPECT_NEAR(difference[0][2].item<double>(), 10.0, 1e-12);
  EXPECT_NEAR(difference[0][0].item<double>(), -2.0, 1e-12);
}

TEST(GroupAdvantages, UnjudgedCompletionsTakeNoPart) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto rewards = torch::tensor(
      {{1.0, nan, 0.0, 0.0, 1.0}, {nan, nan, nan, nan, 1.0}, {0.1, nan, 0.1, 0.1, 0.1}}, torch::kDouble);
  const auto valid = ~rewards.isnan();
  const auto got = group_advantages(rewards, setting(Baseline::kMean, RewardStd::kPopulation), valid);
  expect_row(got[0], {1, 0, -1, -1, 1});
  expect_row(got[1], {0, 0, 0, 0, 0}, 0);
  expect_row(got[2], {0, 0, 0, 0, 0}, 0);
  const auto rloo = group_advantages(rewards, setting(Baseline::kLeaveOneOut, RewardStd::kNone), valid);
  expect_row(rloo[0], {2.0 / 3, 0, -2.0 / 3, -2.0 / 3, 2.0 / 3});
}

TEST(GroupAdvantages, IsDetachedAndAcceptsNoPrompts) {
  EXPECT_FALSE(group_advantages(kRewards().requires_grad_()).requires_grad());
  EXPECT_EQ(group_advantages(torch::zeros({0, 4})).sizes(), (std::vector<int64_t>{0, 4}));
}

TEST(GroupAdvantages, RefusesWhatIsNoGroup) {
  EXPECT_THROW(group_advantages(torch::zeros({4, 1})), c10::Error);
  EXPECT_THROW(group_advantages(torch::zeros({4})), c10::Error);
  EXPECT_THROW(group_advantages(torch::zeros({4, 4}, torch::kLong)), c10::Error);
  EXPECT_THROW(group_advantages(torch::full({1, 2}, NAN)), c10::Error);
  EXPECT_THROW(group_advantages(torch::full({1, 2}, INFINITY)), c10::Error);
  EXPECT_THROW(group_advantages(torch::zeros({1, 2}), {}, torch::ones({2, 1}, torch::kBool)), c10::Error);
}

}  // namespace
}  // namespace r1::algo
