#include "r1/ops/sampling.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/ops/ops.h"

namespace r1::ops {
namespace {

// Share of each token over a grid of uniforms: exact to 1 / steps.
std::vector<double> shares(const torch::Tensor& logits_V, const SamplingRule& rule, int64_t steps = 20000) {
  std::vector<int64_t> rows(static_cast<size_t>(steps), 0);
  std::vector<double> uniforms;
  for (int64_t i = 0; i < steps; ++i) uniforms.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(steps));
  const auto drawn = sample_tokens(logits_V.unsqueeze(0), rows, uniforms, rule);
  std::vector<double> out(static_cast<size_t>(logits_V.numel()), 0.0);
  for (const int32_t t : drawn.tokens) out[static_cast<size_t>(t)] += 1.0 / static_cast<double>(steps);
  return out;
}

TEST(SampleTokens, DrawsFromTheSoftmaxAtATemperature) {
  torch::manual_seed(1);
  for (const double temperature : {0.5, 1.0, 2.0}) {
    const auto logits = torch::randn({2000}) * 3;
    const auto expected = (logits.to(torch::kDouble) / temperature).softmax(0);
    const auto got = shares(logits, {.temperature = temperature});
    for (int64_t v = 0; v < 2000; ++v) EXPECT_NEAR(expected[v].item<double>(), got[static_cast<size_t>(v)], 1.5e-4) << v;
  }
}

TEST(SampleTokens, CutsKeepWhatTheyPromise) {
  const auto logits = torch::tensor({0.4, 0.3, 0.2, 0.06, 0.04}).log();
  const auto expect = [&](const SamplingRule& rule, const std::vector<double>& expected) {
    const auto got = shares(logits, rule);
    for (size_t v = 0; v < expected.size(); ++v) EXPECT_NEAR(expected[v], got[v], 1e-3) << v;
  };
  expect({.top_k = 2}, {4.0 / 7, 3.0 / 7, 0, 0, 0});
  expect({.top_p = 0.65}, {4.0 / 7, 3.0 / 7, 0, 0, 0});
  expect({.top_p = 0.75}, {4.0 / 9, 3.0 / 9, 2.0 / 9, 0, 0});
  expect({.min_p = 0.45}, {4.0 / 9, 3.0 / 9, 2.0 / 9, 0, 0});
  expect({.top_k = 4, .top_p = 0.9, .min_p = 0.6}, {4.0 / 7, 3.0 / 7, 0, 0, 0});
  expect({.temperature = 0}, {1, 0, 0, 0, 0});
  expect({.top_k = 1}, {1, 0, 0, 0, 0});
}

TEST(SampleTokens, LogprobIsThatOfTheDistributionDrawnFrom) {
  const auto logits = torch::tensor({0.4, 0.3, 0.2, 0.1}).log().unsqueeze(0);
  EXPECT_NEAR(std::log(3.0 / 7), sample_tokens(logits, {0}, {0.99}, {.top_k = 2}).logprobs[0], 1e-6);
  EXPECT_NEAR(std::log(0.1), sample_tokens(logits, {0}, {0.999}, {}).logprobs[0], 1e-6);
}

TEST(SampleTokens, LogprobEqualsTheTrainersBitForBit) {
  torch::manual_seed(2);
  const auto h = torch::randn({30, 64}), w = torch::randn({3000, 64}) * 0.2;
  const torch::NoGradGuard no_grad;
  std::vector<int64_t> rows;
  std::vector<double> uniforms;
  for (int64_t i = 0; i < 30; ++i) rows.push_back(i), uniforms.push_back(static_cast<double>(i) / 30);
  const double temperature = 0.7;
  const auto drawn = sample_tokens(ops::linear(h, w), rows, uniforms, {.temperature = temperature});
  std::vector<int64_t> targets(drawn.tokens.begin(), drawn.tokens.end());
  const auto [logprobs, entropy] = linear_logprob(h, w, torch::tensor(targets, torch::kLong), 1 / temperature, 7);
  for (int64_t i = 0; i < 30; ++i) EXPECT_EQ(logprobs[i].item<float>(), drawn.logprobs[static_cast<size_t>(i)]);
}

TEST(SampleTokens, ImpossibleTokensAreNeverDrawn) {
  auto logits = torch::full({40}, -std::numeric_limits<float>::infinity());
  logits[7] = 0.0;
  logits[39] = 0.0;
  const auto got = shares(logits, {}, 1000);
  EXPECT_NEAR(0.5, got[7], 1e-3);
  EXPECT_NEAR(0.5, got[39], 1e-3);
  const auto last = sample_tokens(logits.unsqueeze(0), {0}, {1.0 - 1e-17}, {});
  EXPECT_EQ(39, last.tokens[0]);
}

}  // namespace
}  // namespace r1::ops
