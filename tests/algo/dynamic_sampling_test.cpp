#include "r1/algo/dynamic_sampling.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "r1/algo/advantages.h"

namespace r1::algo {
namespace {

TEST(MixedGroups, AreThoseWithUnequalRewards) {
  const auto rewards = torch::tensor({{0.1, 0.1, 0.1}, {0.0, 1.0, 0.0}, {1.0, 1.0, 1.0}, {1.0, 1.0, 1.1}});
  EXPECT_TRUE(torch::equal(mixed_groups(rewards), torch::tensor({false, true, false, true})));
}

TEST(MixedGroups, AreExactlyThoseWithAdvantages) {
  torch::manual_seed(5);
  const auto rewards = torch::randint(0, 2, {200, 3}).to(torch::kFloat) * 0.1;
  const auto valid = torch::rand({200, 3}) < 0.7;
  EXPECT_TRUE(torch::equal(mixed_groups(rewards, valid), group_advantages(rewards, {}, valid).ne(0).any(1)));
  EXPECT_TRUE(torch::equal(mixed_groups(rewards), group_advantages(rewards).ne(0).any(1)));
}

TEST(CountGroups, HandCounted) {
  const auto right =
      torch::tensor({{true, true}, {false, false}, {true, false}, {false, true}, {true, true}});
  const auto c = count_groups(right);
  EXPECT_EQ(c.total, 5);
  EXPECT_EQ(c.mixed, 2);
  EXPECT_EQ(c.all_right, 2);
  EXPECT_EQ(c.all_wrong, 1);
  EXPECT_EQ(c.unjudged, 0);
}

TEST(CountGroups, UnjudgedCompletionsAreNeitherRightNorWrong) {
  const auto right = torch::tensor({{true, false}, {true, false}, {true, false}});
  const auto valid = torch::tensor({{true, false}, {false, true}, {false, false}});
  const auto c = count_groups(right, valid);
  EXPECT_EQ(c.all_right, 1);
  EXPECT_EQ(c.all_wrong, 1);
  EXPECT_EQ(c.unjudged, 1);
  EXPECT_EQ(c.mixed, 0);
}

TEST(CountGroups, Add) {
  auto c = count_groups(torch::tensor({{true, false}}));
  c += count_groups(torch::tensor({{true, true}, {false, false}}));
  EXPECT_EQ(c.total, 3);
  EXPECT_EQ(c.mixed + c.all_right + c.all_wrong + c.unjudged, c.total);
}

TEST(DynamicSampling, EmptyStepsAndWrongTensors) {
  EXPECT_EQ(mixed_groups(torch::zeros({0, 4})).numel(), 0);
  EXPECT_EQ(count_groups(torch::zeros({0, 4}, torch::kBool)).total, 0);
  EXPECT_THROW(mixed_groups(torch::zeros({4})), c10::Error);
  EXPECT_THROW(mixed_groups(torch::zeros({4, 2}, torch::kLong)), c10::Error);
  EXPECT_THROW(count_groups(torch::zeros({4, 2})), c10::Error);
  EXPECT_THROW(count_groups(torch::zeros({4, 2}, torch::kBool), torch::zeros({2, 4}, torch::kBool)),
               c10::Error);
}

}  // namespace
}  // namespace r1::algo
