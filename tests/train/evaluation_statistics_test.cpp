#include "r1/train/evaluation_statistics.h"

#include <gtest/gtest.h>

#include "r1/util/error.h"

namespace r1::train {
namespace {

TEST(EvaluationStatistics, PassAtKByHand) {
  EXPECT_DOUBLE_EQ(pass_at_k(4, 1, 1), 0.25);
  EXPECT_DOUBLE_EQ(pass_at_k(4, 1, 2), 0.5);                  // 1 - C(3,2) / C(4,2) = 1 - 3/6
  EXPECT_NEAR(pass_at_k(10, 3, 5), 1 - 21.0 / 252.0, 1e-15);  // 1 - C(7,5) / C(10,5)
  EXPECT_DOUBLE_EQ(pass_at_k(5, 0, 5), 0);
  EXPECT_DOUBLE_EQ(pass_at_k(5, 1, 5), 1);
  EXPECT_DOUBLE_EQ(pass_at_k(5, 4, 2), 1);  // only one is wrong
  EXPECT_NEAR(pass_at_k(1'000'000, 1, 1000), 1e-3, 1e-12);
}

TEST(EvaluationStatistics, PassAtKIsTheMeanOverAllSubsets) {
  const int n = 7;
  for (int c = 0; c <= n; ++c) {
    for (int k = 1; k <= n; ++k) {
      int subsets = 0, with_a_right_one = 0;
      for (int set = 0; set < (1 << n); ++set) {  // the first c samples are the right ones
        if (__builtin_popcount(static_cast<unsigned>(set)) != k) continue;
        ++subsets;
        with_a_right_one += (set & ((1 << c) - 1)) != 0 ? 1 : 0;
      }
      EXPECT_NEAR(pass_at_k(n, c, k), static_cast<double>(with_a_right_one) / subsets, 1e-14)
          << c << " " << k;
    }
  }
}

TEST(EvaluationStatistics, PassAtKRefusesWhatHasNoMeaning) {
  EXPECT_THROW(pass_at_k(4, 5, 1), Error);
  EXPECT_THROW(pass_at_k(4, -1, 1), Error);
  EXPECT_THROW(pass_at_k(4, 1, 0), Error);
  EXPECT_THROW(pass_at_k(4, 1, 5), Error);
}

TEST(EvaluationStatistics, WilsonByHand) {
  const auto half = wilson_interval(0.5, 10);
  EXPECT_NEAR(half.low, 0.236593, 1e-6);
  EXPECT_NEAR(half.high, 0.763407, 1e-6);
  const auto none = wilson_interval(0, 10);
  EXPECT_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.277533, 1e-6);  // z^2/10 / (1 + z^2/10)
  const auto all = wilson_interval(1, 10);
  EXPECT_NEAR(all.low, 1 - 0.277533, 1e-6);
  EXPECT_EQ(all.high, 1);
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(EvaluationStatistics, ProblemsAreTheClusters) {
  // mean 7/16, sum of squares 35/64, SE^2 = 35/768, n_eff = (63/256) / (35/768) = 5.4
  const auto e = mean_over_problems({0.5, 1, 0, 0.25});
  EXPECT_DOUBLE_EQ(e.value, 0.4375);
  EXPECT_NEAR(e.interval.low, 0.142590, 1e-6);
  EXPECT_NEAR(e.interval.high, 0.784370, 1e-6);
  // Zeros and ones: Wilson's interval with n problems, not n - 1.
  const auto binary = mean_over_problems({0, 1, 1, 0, 1, 0, 0, 1, 1, 0});
  EXPECT_NEAR(binary.interval.low, 0.236593, 1e-6);
  // No spread is no certainty.
  const auto equal = mean_over_problems(std::vector<double>(10, 0.5));
  EXPECT_NEAR(equal.interval.high, 0.763407, 1e-6);
  EXPECT_EQ(mean_over_problems({}).interval.high, 1);
}

TEST(EvaluationStatistics, MajorityCountsByTheVerifiersEquality) {
  const auto same = [](const std::string& a, const std::string& b) {
    return a == b || (a == "0.5" && b == "1/2") || (a == "1/2" && b == "0.5");
  };
  EXPECT_EQ(majority_answer({"3", "1/2", "3", "0.5", "1/2"}, same), 1u);
  EXPECT_EQ(majority_answer({"3", "1/2", "0.5", "3"}, same), 0u);  // a tie: the first sampled
  EXPECT_EQ(majority_answer({"", "", "", "7"}, same), 3u);         // no answer, no vote
  EXPECT_EQ(majority_answer({"", ""}, same), std::nullopt);
  EXPECT_EQ(majority_answer({}, same), std::nullopt);
}

}  // namespace
}  // namespace r1::train
