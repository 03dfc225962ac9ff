#include "r1/algo/overlong.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace r1::algo {
namespace {

TEST(SoftOverlongPenalty, HandComputedNumbersAtEveryCorner) {
  OverlongConfig config;
  config.soft_penalty_tokens = 4;
  const auto lengths =
      torch::tensor({0, 5, 6, 7, 8, 9, 10, 11, 100}, torch::kLong);  // L_max = 10, L_cache = 4
  const auto got = soft_overlong_penalty(lengths, 10, config, torch::kDouble);
  EXPECT_TRUE(torch::equal(
      got, torch::tensor({0.0, 0.0, 0.0, -0.25, -0.5, -0.75, -1.0, -1.0, -1.0}, torch::kDouble)));
  config.soft_penalty_scale = 0.5;
  EXPECT_TRUE(torch::equal(soft_overlong_penalty(lengths, 10, config, torch::kDouble), 0.5 * got));
}

TEST(SoftOverlongPenalty, OffIsZeroAndTheWholeRangeIsAllowed) {
  const auto lengths = torch::tensor({{0, 5}, {10, 11}}, torch::kLong);
  const auto off = soft_overlong_penalty(lengths, 10, {}, torch::kFloat);
  EXPECT_TRUE(torch::equal(off, torch::zeros({2, 2})));
  OverlongConfig config;
  config.soft_penalty_tokens = 10;
  EXPECT_TRUE(torch::equal(soft_overlong_penalty(lengths, 10, config, torch::kFloat),
                           torch::tensor({{0.0f, -0.5f}, {-1.0f, -1.0f}})));
  config.soft_penalty_tokens = 11;
  EXPECT_THROW(soft_overlong_penalty(lengths, 10, config, torch::kFloat), c10::Error);
  EXPECT_THROW(soft_overlong_penalty(lengths.to(torch::kFloat), 10, {}, torch::kFloat), c10::Error);
}

TEST(MaskTruncated, RemovesTheTokensOfTruncatedCompletions) {
  const auto mask = torch::tensor({1, 1, 0, 1, 1, 1}, torch::kFloat);
  const auto sequence = torch::tensor({0, 0, 1, 1, 2, 2}, torch::kLong);
  const auto truncated = torch::tensor({false, true, false});
  EXPECT_TRUE(torch::equal(mask_truncated(mask, sequence, truncated),
                           torch::tensor({1, 1, 0, 0, 1, 1}, torch::kFloat)));
  EXPECT_TRUE(torch::equal(mask_truncated(mask.to(torch::kBool), sequence, truncated),
                           torch::tensor({true, true, false, false, true, true})));
  EXPECT_THROW(mask_truncated(mask, sequence.to(torch::kInt), truncated), c10::Error);
  EXPECT_THROW(mask_truncated(mask, sequence, truncated.to(torch::kFloat)), c10::Error);
}

}  // namespace
}  // namespace r1::algo
