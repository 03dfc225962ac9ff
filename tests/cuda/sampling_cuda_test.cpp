#include <map>

#include "cuda/orders.h"
#include "kernels/sampling/sampling_cuda.h"
#include "r1/util/random.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

/// ops::SamplingRule, without LibTorch.
struct Rule {
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1, min_p = 0;
};

cuda::Draw draw_of(int64_t row, const Rule& rule, const DrawKey& key) {
  const auto words = philox_key(key);
  cuda::Draw d{};
  d.row = static_cast<int32_t>(row);
  d.top_k = static_cast<int32_t>(rule.top_k);
  d.top_p = rule.top_p;
  d.min_p = rule.min_p;
  d.inverse_temperature = rule.temperature == 0 ? 0.0f : static_cast<float>(1 / rule.temperature);
  d.key[0] = words[0];
  d.key[1] = words[1];
  d.position = key.position;
  d.sample = key.sample;
  d.prompt = key.prompt;
  d.step = key.step;
  d.uniform = -1;
  return d;
}
DrawKey counter(uint32_t position) { return {.seed = 11, .stream = Stream::kTest, .stage = 3, .step = 5, .prompt = 7, .sample = 2, .position = position}; }

/// The tokens that a rule keeps, in the order in which their weights are added.
struct Kept {
  std::vector<size_t> order;
  std::vector<double> weights;
  double total = 0;
};
Kept keep(const std::vector<double>& z, const Rule& rule) {
  Kept k;
  k.order.resize(z.size());
  for (size_t v = 0; v < z.size(); ++v) k.order[v] = v;
  const double largest = *std::max_element(z.begin(), z.end());
  const bool cuts = rule.top_k > 0 || rule.top_p < 1 || rule.min_p > 0;
  if (cuts) std::sort(k.order.begin(), k.order.end(), [&](size_t a, size_t b) { return z[a] != z[b] ? z[a] > z[b] : a < b; });
  if (rule.top_k > 0 && rule.top_k < static_cast<int64_t>(z.size())) k.order.resize(static_cast<size_t>(rule.top_k));
  for (const size_t v : k.order) {
    k.weights.push_back(z[v] == largest ? 1 : std::exp((z[v] - largest) * static_cast<double>(static_cast<float>(1 / rule.temperature))));
    k.total += k.weights.back();
  }
  size_t kept = k.order.size();
  if (rule.top_p < 1) {
    double sum = 0;
    for (kept = 0; kept < k.order.size() && (kept == 0 || sum < rule.top_p * k.total); ++kept) sum += k.weights[kept];
  }
  while (cuts && kept > 1 && k.weights[kept - 1] < rule.min_p) --kept;
  k.order.resize(kept);
  k.weights.resize(kept);
  k.total = 0;
  for (const double w : k.weights) k.total += w;
  return k;
}

template <class T>
struct Rows {
  int64_t V;
  std::vector<T> logits;
  std::vector<double> row(int64_t r) const {
    std::vector<double> z;
    for (int64_t v = 0; v < V; ++v) {
      const double x = value(logits[static_cast<size_t>(r * V + v)]);
      z.push_back(x == x ? x : -INFINITY);
    }
    return z;
  }
};

struct Drawn {
  std::vector<int64_t> tokens;
  std::vector<float> logprobs;
};
template <class T>
Drawn sample(const Rows<T>& rows, const std::vector<cuda::Draw>& draws) {
  const auto M = static_cast<int64_t>(draws.size());
  DeviceArray<T> logits(rows.logits, "logits");
  DeviceArray<cuda::Draw> ddraws(draws, "draws");
  DeviceArray<int64_t> tokens(M, "tokens");
  DeviceArray<float> logprobs(M, "logprobs");
  cuda::sample_tokens(M, rows.V, logits.data(), ddraws.data(), tokens.data(), logprobs.data(), nullptr);
  return {tokens.to_host(), logprobs.to_host()};
}

/// Token and log-probability are those of the float64 rule, except that a draw whose uniform lies within
/// `slack` of a border may take a neighbour.
template <class T>
void expect_right(const Rows<T>& rows, const std::vector<Rule>& rules, uint32_t draws_per_rule, const char* what, double slack = 3e-6) {
  const int64_t R = static_cast<int64_t>(rows.logits.size()) / rows.V;
  std::vector<cuda::Draw> draws;
  std::vector<std::pair<Rule, uint32_t>> of_draw;
  for (const auto& rule : rules) {
    for (uint32_t i = 0; i < draws_per_rule; ++i) {
      draws.push_back(draw_of(i % R, rule, counter(i)));
      of_draw.push_back({rule, i});
    }
  }
  const auto drawn = sample(rows, draws);
  for (size_t m = 0; m < draws.size(); ++m) {
    const Rule& rule = of_draw[m].first;
    const auto z = rows.row(draws[m].row);
    const auto token = static_cast<size_t>(drawn.tokens[m]);
    ASSERT_LT(token, z.size()) << what;
    if (rule.temperature == 0) {
      EXPECT_EQ(token, static_cast<size_t>(std::max_element(z.begin(), z.end()) - z.begin())) << what;
      double total = 0;
      for (const double x : z) total += x == z[token] ? 1 : std::exp(x - z[token]);
      EXPECT_NEAR(drawn.logprobs[m], -std::log(total), 2e-6) << what;
      continue;
    }
    const auto kept = keep(z, rule);
    double below = 0;
    size_t i = 0;
    while (i < kept.order.size() && kept.order[i] != token) below += kept.weights[i++];
    ASSERT_LT(i, kept.order.size()) << what << ": token " << token << " is cut; top_k " << rule.top_k << " top_p " << rule.top_p << " min_p "
                                    << rule.min_p << " temperature " << rule.temperature;
    const double u = draw_uniform(counter(of_draw[m].second));
    const auto says = [&] {
      return std::string(what) + ": token " + std::to_string(token) + " of " + std::to_string(z.size()) + ", number " + std::to_string(i) +
             " of " + std::to_string(kept.order.size()) + " kept; top_k " + std::to_string(rule.top_k) + " top_p " + std::to_string(rule.top_p) +
             " min_p " + std::to_string(rule.min_p) + " temperature " + std::to_string(rule.temperature);
    };
    EXPECT_GE(u, below / kept.total - slack) << says();
    EXPECT_LE(u, (below + kept.weights[i]) / kept.total + slack) << says();
    EXPECT_NEAR(drawn.logprobs[m], std::log(kept.weights[i] / kept.total), 1e-5 + slack) << what;
  }
}

const std::vector<Rule> kRules = {{1, 0, 1, 0},      {0.7, 0, 1, 0},  {0, 0, 1, 0},       {1, 1, 1, 0},     {1, 50, 1, 0},
                                  {1, 0, 0.9, 0},    {1, 0, 1, 0.05}, {0.6, 20, 0.95, 0}, {1.5, 0, 0.5, 0.01}, {1, 100000, 0.999, 1e-4},
                                  {0.05, 3, 1, 0.2}, {1, 0, 1e-9, 0}, {1, 0, 1, 2}};

template <class T>
class SamplingCuda : public testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(SamplingCuda, Types);

TYPED_TEST(SamplingCuda, AgainstTheRuleInFloat64) {
  for (const int64_t V : {1, 2, 5, 129, 1000, 4097}) {
    const Rows<TypeParam> rows{V, random_values<TypeParam>(3 * V, static_cast<uint32_t>(V), 3)};
    expect_right(rows, kRules, 4, "normal logits");
  }
}

TYPED_TEST(SamplingCuda, ManyEqualLogits) {
  const int64_t V = 3001;
  Rows<TypeParam> rows{V, std::vector<TypeParam>(static_cast<size_t>(2 * V), round_to<TypeParam>(0.25))};
  for (int64_t v = V; v < 2 * V; ++v) rows.logits[static_cast<size_t>(v)] = round_to<TypeParam>(static_cast<double>(v % 3));
  expect_right(rows, {{1, 0, 1, 0}, {1, 1001, 1, 0}, {1, 0, 0.3, 0}, {1, 1700, 0.9, 0.3}, {0, 0, 1, 0}}, 8, "few values");
  // Closer than a bin of the histogram, more than a list holds.
  rows.logits = random_values<TypeParam>(2 * V, 4, 1e-3);
  expect_right(rows, {{1, 0, 1, 0}, {1, 1001, 1, 0}, {1, 0, 0.3, 0}, {1, 1700, 0.9, 0.3}}, 8, "close values");
}

TYPED_TEST(SamplingCuda, UnusualLogits) {
  const int64_t V = 300;
  Rows<TypeParam> rows{V, random_values<TypeParam>(4 * V, 9, 2)};
  const auto put = [&](int64_t row, int64_t v, double x) { rows.logits[static_cast<size_t>(row * V + v)] = round_to<TypeParam>(x); };
  for (int64_t v = 0; v < V - 3; ++v) put(0, v, -INFINITY);
  put(1, 7, NAN);
  put(1, 0, NAN);
  put(2, 5, INFINITY);
  put(2, 9, INFINITY);
  for (int64_t v = 0; v < V; ++v) put(3, v, v % 2 == 0 ? 0.0 : -0.0);
  expect_right(rows, kRules, 8, "infinite, NaN and signed zeros");
}

TYPED_TEST(SamplingCuda, AWholeVocabulary) {
  const int64_t V = 151'936;
  const Rows<TypeParam> rows{V, random_values<TypeParam>(V, 3, 2.5)};
  // Weights in float32 are off by up to 2^-24 of their exponent, all the same way.
  expect_right(rows, {{1, 0, 1, 0}, {1, 50, 0.95, 0}, {1, 0, 0.9, 0}, {0.1, 100, 1, 0}, {0, 0, 1, 0}}, 1, "V of Qwen2.5", 1e-5);
}

TYPED_TEST(SamplingCuda, TheSameBitsInEveryThreadOrder) {
  const int64_t V = 5000;
  const Rows<TypeParam> rows{V, random_values<TypeParam>(2 * V, 8, 2)};
  std::vector<cuda::Draw> draws;
  for (uint32_t i = 0; i < 2; ++i) {
    for (const auto& rule : kRules) draws.push_back(draw_of(i, rule, counter(i)));
  }
  std::vector<int64_t> tokens;
  deterministic<float>([&] {
    const auto drawn = sample(rows, draws);
    if (tokens.empty()) tokens = drawn.tokens;
    EXPECT_EQ(tokens, drawn.tokens);
    return drawn.logprobs;
  });
}

TEST(SamplingDraws, FrequenciesAreTheProbabilities) {
  const Rows<float> rows{6, {0.3f, -1.0f, 1.2f, 0.3f, -2.0f, 0.9f}};
  for (const Rule& rule : {Rule{1, 0, 1, 0}, Rule{0.8, 5, 0.95, 0}}) {
    const auto kept = keep(rows.row(0), rule);
    std::vector<cuda::Draw> draws;
    for (uint32_t i = 0; i < 2000; ++i) draws.push_back(draw_of(0, rule, counter(i)));
    std::map<int64_t, double> seen;
    for (const int64_t token : sample(rows, draws).tokens) ++seen[token];
    double chi_square = 0;
    for (size_t i = 0; i < kept.order.size(); ++i) {
      const double expected = 2000 * kept.weights[i] / kept.total;
      chi_square += std::pow(seen[static_cast<int64_t>(kept.order[i])] - expected, 2) / expected;
    }
    EXPECT_LE(seen.size(), kept.order.size());
    EXPECT_LT(chi_square, 15.1) << "5 degrees of freedom: p = 0.01; fewer need less";
  }
}

TEST(SamplingDraws, NothingIsDrawnForAnIdleRow) {
  const Rows<float> rows{4, {0, 1, 2, 3}};
  DeviceArray<float> logits(rows.logits, "logits"), logprobs(2, "logprobs");
  auto idle = draw_of(0, {}, counter(0));
  idle.row = -1;
  DeviceArray<cuda::Draw> draws(std::vector<cuda::Draw>{idle, draw_of(0, {0}, counter(1))}, "draws");
  DeviceArray<int64_t> tokens(std::vector<int64_t>{-7, -7}, "tokens");
  cuda::sample_tokens(2, 4, logits.data(), draws.data(), tokens.data(), logprobs.data(), nullptr);
  EXPECT_EQ(tokens.to_host(), (std::vector<int64_t>{-7, 3}));
  cuda::sample_tokens<float>(0, 4, nullptr, nullptr, nullptr, nullptr, nullptr);
  EXPECT_THROW(cuda::sample_tokens<float>(1, 0, nullptr, nullptr, nullptr, nullptr, nullptr), std::runtime_error);
  EXPECT_THROW(cuda::sample_tokens<float>(1, (1 << 18) + 1, nullptr, nullptr, nullptr, nullptr, nullptr), std::runtime_error);
}

}  // namespace
}  // namespace r1::test
