#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace r1::train {

/// A 95 % confidence interval of a share, within [0, 1].
struct Interval {
  double low = 0, high = 1;
};

/// A share with its interval.
struct Estimate {
  double value = 0;
  Interval interval;
};

/// Probability that at least one of k samples is right, from n >= k samples of which c are right, without
/// bias:
///
///   pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{i = n-c+1}^{n} (1 - k / i)
///
/// Throws Error unless 0 <= c <= n and 1 <= k <= n.
/// Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv:2107.03374), eq. (1).
double pass_at_k(int64_t n, int64_t c, int64_t k);

/// Wilson's score interval of a share p of n independent trials, z = 1.959964:
///
///   (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
///
/// n = 0: [0, 1]. Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209-212.
Interval wilson_interval(double p, double n);

/// Mean over problems of one value in [0, 1] each (the share of right samples, a pass@k, a 0 or 1), and its
/// interval. The problems are the clusters: samples of one problem are not independent, so only the spread
/// between the problems' values counts (the clustered standard error of Miller 2024, arXiv:2411.00640,
/// section 2.2, with equal clusters):
///
///   SE^2 = sum_i (x_i - mean)^2 / (n (n - 1)),   n_eff = mean (1 - mean) / SE^2,   Wilson's interval of
///   (mean, n_eff)
///
/// For values of 0 and 1 alone (one sample of each problem, a majority vote) it is Wilson's interval with n
/// problems. So it is where the SE is 0, which would claim certainty. No value: 0 in [0, 1].
Estimate mean_over_problems(const std::vector<double>& values);

/// The answer that most samples give: the index of the first sample with it, or nothing when no sample has an
/// answer.
///
///   answers  one per sample; an empty text has no vote
///   same     the verifier's equality: "1/2" and "0.5" are one answer. Called with (answer, first of a class)
///
/// Of two answers with equally many votes the one that was sampled first wins; as samples are exchangeable,
/// that is a draw by lot which the seed repeats.
std::optional<size_t> majority_answer(
    const std::vector<std::string>& answers,
    const std::function<bool(const std::string&, const std::string&)>& same);

}  // namespace r1::train
