#include "r1/report/interval.h"

#include <gtest/gtest.h>

namespace r1::report {
namespace {

// By hand, z^2 = 3.841459: 8 of 10: middle 0.8 + 3.841459/20 = 0.992073, half 1.959964 sqrt(0.016 +
// 0.00960365) = 0.313618, both / 1.3841459.
TEST(Wilson, AgreesWithFiguresWorkedOutByHand) {
  const auto eight = wilson_interval(0.8, 10);
  EXPECT_NEAR(eight.low, 0.490162, 1e-5);
  EXPECT_NEAR(eight.high, 0.943318, 1e-5);
  const auto half =
      wilson_interval(0.5, 100);  // symmetric: 0.5 -+ 1.959964 sqrt(0.0025 + 0.0000960365) / 1.03841459
  EXPECT_NEAR(half.low, 0.403832, 1e-5);
  EXPECT_NEAR(half.high, 0.596168, 1e-5);
}

TEST(Wilson, HasAWidthAtTheEnds) {
  const auto none = wilson_interval(0, 20);  // high = z^2 / (n + z^2) = 3.841459 / 23.841459
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.161125, 1e-5);
  const auto all = wilson_interval(1, 20);
  EXPECT_NEAR(all.low, 0.838875, 1e-5);
  EXPECT_EQ(all.high, 1);
}

TEST(Wilson, NarrowsWithTheNumberOfTrials) {
  double width = 1;
  for (const double n : {1.0, 10.0, 100.0, 10000.0}) {
    const auto interval = wilson_interval(0.3, n);
    EXPECT_LT(interval.high - interval.low, width);
    width = interval.high - interval.low;
    EXPECT_LT(interval.low, 0.3);
    EXPECT_GT(interval.high, 0.3);
  }
}

TEST(Wilson, KnowsNothingWithoutTrials) {
  for (const double n : {0.0, -1.0}) {
    EXPECT_EQ(wilson_interval(0.5, n).low, 0);
    EXPECT_EQ(wilson_interval(0.5, n).high, 1);
  }
}

}  // namespace
}  // namespace r1::report
