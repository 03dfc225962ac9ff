#include "r1/ops/ops.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "reference.h"
#include "support/compare.h"

namespace r1::ops {
namespace {

using test::evaluate;
using test::relative_error;
using torch::Tensor;

// Our float32 result may be at most twice as far from float64 as plain ATen's float32 is (plus one rounding).
void expect_within_twice_aten(const test::TensorFn& ours, const test::TensorFn& plain, const std::vector<Tensor>& inputs) {
  const auto exact = evaluate(plain, inputs, torch::kDouble);
  const auto aten = evaluate(plain, inputs, torch::kFloat);
  const auto got = evaluate(ours, inputs, torch::kFloat);
  EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 2e-7);
  for (size_t i = 0; i < exact.gradients.size(); ++i) {
    EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]),
              2 * relative_error(aten.gradients[i], exact.gradients[i]) + 4e-7)
        << "gradient " << i;
  }
}

TEST(Linear, MatchesAten) {
  torch::manual_seed(1);
  for (const auto& [N, C, O] : std::vector<std::array<int64_t, 3>>{{1, 8, 5}, {7, 33, 20}, {40, 64, 100}}) {
    const std::vector<Tensor> inputs{torch::randn({N, C}), torch::randn({O, C}), torch::randn({O})};
    expect_within_twice_aten([](const auto& x) { return ops::linear(x[0], x[1], x[2]); },
                             [](const auto& x) { return ref::linear(x[0], x[1], x[2]); }, inputs);
    expect_within_twice_aten([](const auto& x) { return ops::linear(x[0], x[1]); },
                             [](const auto& x) { return ref::linear(x[0], x[1], {}); }, {inputs[0], inputs[1]});
  }
}

TEST(RmsNorm, MatchesAten) {
  torch::manual_seed(2);
  for (const auto& [N, C] : std::vector<std::pair<int64_t, int64_t>>{{1, 8}, {7, 100}, {200, 64}}) {
    expect_within_twice_aten([](const auto& x) { return ops::rms_norm(x[0], x[1], 1e-5); },
                             [](const auto& x) { return ref::rms_norm(x[0], x[1], 1e-5); },
                             {torch::randn({N, C}), torch::randn({C})});
  }
}

TEST(SiluMul, MatchesAten) {
  torch::manual_seed(3);
  expect_within_twice_aten([](const auto& x) { return ops::silu_mul(x[0], x[1]); },
                           [](const auto& x) { return ref::silu_mul(x[0], x[1]); },
                           {torch::randn({9, 37}) * 5, torch::randn({9, 37})});
}

TEST(Rope, MatchesAtenAndTurnsBack) {
  torch::manual_seed(4);
  for (const int64_t D : {8, 32, 64}) {
    const auto angle = torch::rand({20, D / 2}, torch::kDouble) * 6;
    const auto positions = torch::randint(20, {11}, torch::kLong);
    const auto with = [&](auto fn) {
      return [=](const std::vector<Tensor>& x) {
        return fn(x[0], positions, angle.cos().to(x[0].scalar_type()), angle.sin().to(x[0].scalar_type()));
      };
    };
    expect_within_twice_aten(with([](auto&&... a) { return ops::rope(a...); }), with([](auto&&... a) { return ref::rope(a...); }),
                             {torch::randn({11, 3, D})});
  }
}

TEST(Embedding, AddsGradientsOfRepeatedTokens) {
  const auto tokens = torch::tensor({2, 0, 2, 2}, torch::kLong);
  expect_within_twice_aten([&](const auto& x) { return ops::embedding(tokens, x[0]); },
                           [&](const auto& x) { return ref::embedding(tokens, x[0]); }, {torch::randn({4, 6})});
}

TEST(LinearLogprob, MatchesAtenForAnyChunk) {
  torch::manual_seed(5);
  for (const int64_t chunk : {1, 3, 128}) {
    const auto targets = torch::randint(50, {10}, torch::kLong);
    expect_within_twice_aten([&](const auto& x) { return std::get<0>(ops::linear_logprob(x[0], x[1], targets, 1 / 0.7, chunk)); },
                             [&](const auto& x) { return std::get<0>(ref::linear_logprob(x[0], x[1], targets, 1 / 0.7)); },
                             {torch::randn({10, 24}), torch::randn({50, 24})});
  }
}

TEST(LinearLogprob, ChunksGiveTheSameBitsAndEntropyMatches) {
  torch::manual_seed(6);
  const auto h = torch::randn({10, 24}), w = torch::randn({50, 24});
  const auto targets = torch::randint(50, {10}, torch::kLong);
  const auto [a, ea] = ops::linear_logprob(h, w, targets, 1.0, 3);
  const auto [b, eb] = ops::linear_logprob(h, w, targets, 1.0, 64);
  EXPECT_TRUE(torch::equal(a, b));
  EXPECT_TRUE(torch::equal(ea, eb));
  const auto [p, entropy] = ref::linear_logprob(h.to(torch::kDouble), w.to(torch::kDouble), targets, 1.0);
  EXPECT_LE(relative_error(ea, entropy), 1e-6);
}

TEST(LinearLogprob, RefusesATargetOutsideOfTheVocabulary) {
  EXPECT_THROW(ops::linear_logprob(torch::randn({1, 4}), torch::randn({5, 4}), torch::tensor({5}, torch::kLong), 1.0), c10::Error);
}

TEST(LinearLogprob, ANanLogitGivesANanLogprob) {
  auto h = torch::randn({2, 4});
  h[1][0] = std::nan("");
  const auto [p, entropy] = ops::linear_logprob(h, torch::randn({5, 4}), torch::tensor({0, 1}, torch::kLong), 1.0);
  EXPECT_FALSE(std::isnan(p[0].item<float>()));
  EXPECT_TRUE(std::isnan(p[1].item<float>()));
}

TEST(Ops, AnUndefinedOrExpandedGradientIsFine) {
  auto x = torch::randn({3, 4}).requires_grad_(true), w = torch::randn({5, 4}).requires_grad_(true);
  ops::linear(x, w).sum().backward();  // the gradient of sum() is a stride-0 view
  EXPECT_TRUE(torch::allclose(w.grad(), x.detach().sum(0).expand({5, 4})));
  auto y = torch::randn({3, 4}).requires_grad_(true);
  const auto g = torch::autograd::grad({ops::rms_norm(y, torch::ones({4}), 1e-5).sum()}, {y}, {}, false);
  EXPECT_TRUE(g[0].defined());
}

}  // namespace
}  // namespace r1::ops
