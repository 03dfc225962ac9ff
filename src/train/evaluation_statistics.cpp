#include "r1/train/evaluation_statistics.h"

#include <algorithm>
#include <cmath>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution

}  // namespace

double pass_at_k(int64_t n, int64_t c, int64_t k) {
  if (c < 0 || c > n || k < 1 || k > n) {
    throw Error(cat("pass@", k, " of ", n, " samples with ", c,
                    " right; accepted: 0 <= right <= samples and 1 <= k <= samples."));
  }
  if (n - c < k) return 1;
  double all_wrong = 1;
  for (int64_t i = n - c + 1; i <= n; ++i) all_wrong *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - all_wrong;
}

Interval wilson_interval(double p, double n) {
  if (n <= 0) return {};
  const double z2 = kZ * kZ;
  const double centre = p + z2 / (2 * n), half = kZ * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n)),
               scale = 1 + z2 / n;
  // The ends of none and all are exactly 0 and 1; rounding would leave 1e-17.
  return {p <= 0 ? 0 : std::max(0.0, (centre - half) / scale),
          p >= 1 ? 1 : std::min(1.0, (centre + half) / scale)};
}

Estimate mean_over_problems(const std::vector<double>& values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  double mean = 0;
  for (const double x : values) mean += x;
  mean /= n;
  double squares = 0;
  for (const double x : values) squares += (x - mean) * (x - mean);
  const bool binary = std::all_of(values.begin(), values.end(), [](double x) { return x == 0 || x == 1; });
  if (binary || squares == 0) return {mean, wilson_interval(mean, n)};
  return {mean, wilson_interval(mean, mean * (1 - mean) * n * (n - 1) / squares)};
}

std::optional<size_t> majority_answer(
    const std::vector<std::string>& answers,
    const std::function<bool(const std::string&, const std::string&)>& same) {
  struct Class {
    size_t first;
    int64_t votes;
  };
  std::vector<Class> classes;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].empty()) continue;
    const auto known = std::find_if(classes.begin(), classes.end(), [&](const Class& c) {
      return answers[c.first] == answers[i] || same(answers[i], answers[c.first]);
    });
    if (known == classes.end())
      classes.push_back({i, 1});
    else
      ++known->votes;
  }
  if (classes.empty()) return std::nullopt;
  return std::max_element(classes.begin(), classes.end(),
                          [](const Class& a, const Class& b) { return a.votes < b.votes; })
      ->first;
}

}  // namespace r1::train
