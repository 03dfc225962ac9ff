#include "r1/report/series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace r1::report {
namespace {

Series wave(size_t size) {
  Series series;
  for (size_t i = 0; i < size; ++i)
    series.add(static_cast<int64_t>(i) * 3 + 1,
               std::sin(static_cast<double>(i) * 0.37) + 1e-3 * static_cast<double>(i));
  return series;
}

TEST(Thin, LeavesShortSeriesAlone) {
  const auto series = wave(1000);
  const auto thinned = thin(series, 1000);
  EXPECT_EQ(thinned.steps, series.steps);
  EXPECT_EQ(thinned.values, series.values);
  EXPECT_EQ(thin(Series{}, 10).size(), 0U);
}

TEST(Thin, KeepsEndsAndEveryPeakWithinTheLimit) {
  for (const size_t limit : {5U, 6U, 50U, 1000U}) {
    for (size_t spike = 0; spike < 5000; spike += 611) {
      auto series = wave(5000);
      series.values[spike] = 100;
      series.values[4999 - spike] = -100;
      const auto thinned = thin(series, limit);
      EXPECT_LE(thinned.size(), limit);
      EXPECT_EQ(thinned.steps.front(), series.steps.front());
      EXPECT_EQ(thinned.steps.back(), series.steps.back());
      EXPECT_TRUE(std::is_sorted(thinned.steps.begin(), thinned.steps.end()));
      EXPECT_EQ(*std::max_element(thinned.values.begin(), thinned.values.end()), 100);
      EXPECT_EQ(*std::min_element(thinned.values.begin(), thinned.values.end()), -100);
    }
  }
}

TEST(Thin, KeepsTheExtremesOfEveryStretch) {
  const auto series = wave(9000);
  const auto thinned = thin(series, 902);  // 300 buckets of 30 points
  for (size_t bucket = 0; bucket < 300; ++bucket) {
    const auto begin = series.values.begin() + static_cast<std::ptrdiff_t>(bucket * 30);
    const double largest = *std::max_element(begin, begin + 30), least = *std::min_element(begin, begin + 30);
    EXPECT_NE(std::find(thinned.values.begin(), thinned.values.end(), largest), thinned.values.end())
        << bucket;
    EXPECT_NE(std::find(thinned.values.begin(), thinned.values.end(), least), thinned.values.end()) << bucket;
  }
}

TEST(Thin, KeepsAGap) {
  auto series = wave(4000);
  series.values[2345] = std::numeric_limits<double>::quiet_NaN();
  const auto thinned = thin(series, 100);
  EXPECT_LE(thinned.size(), 100U);
  EXPECT_EQ(
      std::count_if(thinned.values.begin(), thinned.values.end(), [](double v) { return std::isnan(v); }), 1);
  for (auto& value : series.values) value = std::numeric_limits<double>::quiet_NaN();
  EXPECT_GE(thin(series, 100).size(), 2U);
}

TEST(FairPoints, IsTheLargestThatFits) {
  EXPECT_EQ(fair_points({10, 10}, 1000, 100), 1000U);        // all fit
  EXPECT_EQ(fair_points({5000, 10, 10}, 1000, 100), 80U);    // 80 + 10 + 10
  EXPECT_EQ(fair_points({5000, 5000, 30}, 1000, 130), 50U);  // 50 + 50 + 30
  EXPECT_EQ(fair_points(std::vector<size_t>(100, 900), 1000, 1), 5U);
}

TEST(PickEvenly, TakesTheEndsAndNoIndexTwice) {
  EXPECT_EQ(pick_evenly(3, 5), (std::vector<size_t>{0, 1, 2}));
  EXPECT_EQ(pick_evenly(10, 4), (std::vector<size_t>{0, 3, 6, 9}));
  EXPECT_EQ(pick_evenly(10, 1), (std::vector<size_t>{9}));
  EXPECT_TRUE(pick_evenly(0, 4).empty());
  for (size_t size = 2; size < 60; ++size) {
    for (size_t count = 2; count < size; ++count) {
      const auto picked = pick_evenly(size, count);
      EXPECT_EQ(picked.size(), count);
      EXPECT_EQ(picked.front(), 0U);
      EXPECT_EQ(picked.back(), size - 1);
      EXPECT_EQ(std::adjacent_find(picked.begin(), picked.end(), std::greater_equal<>()), picked.end());
    }
  }
}

}  // namespace
}  // namespace r1::report
