#include "kernels/rows/rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/isa.h"

namespace r1::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> x(static_cast<size_t>(count));
  for (auto& v : x) v = normal(engine);
  return x;
}

TEST(Logsumexp, IsWithinOneUnitOfFloat64) {
  for (const int64_t V : {1, 15, 16, 17, 1000, 1024, 1025, 49152}) {
    const auto logits = random_floats(V, static_cast<uint32_t>(V), 4);
    float lse = 0, entropy = 0;
    logsumexp(1, V, logits.data(), 0.7f, &lse, &entropy);
    double total = 0, weighted = 0;
    for (const float x : logits) total += std::exp(static_cast<double>(x * 0.7f));
    for (const float x : logits) weighted += std::exp(static_cast<double>(x * 0.7f)) / total * (x * 0.7f);
    EXPECT_NEAR(std::log(total), lse, 1e-6 * std::max(1.0, std::abs(std::log(total)))) << V;
    EXPECT_NEAR(std::log(total) - weighted, entropy, 2e-6 * std::max(1.0, std::log(total))) << V;
  }
}

TEST(Logsumexp, MaskedLogitsCountForNothing) {
  std::vector<float> logits(40, -std::numeric_limits<float>::infinity());
  logits[3] = 1.0f;
  logits[30] = 1.0f;
  float lse = 0, entropy = 0;
  logsumexp(1, 40, logits.data(), 1.0f, &lse, &entropy);
  EXPECT_NEAR(1.0 + std::log(2.0), lse, 1e-6);
  EXPECT_NEAR(std::log(2.0), entropy, 1e-6);
}

TEST(Logsumexp, ANanLogitIsNotLost) {
  for (const int64_t at : {0, 5, 17, 39}) {
    auto logits = random_floats(40, 9);
    logits[static_cast<size_t>(at)] = std::numeric_limits<float>::quiet_NaN();
    float lse = 0, entropy = 0;
    logsumexp(1, 40, logits.data(), 1.0f, &lse, &entropy);
    EXPECT_TRUE(std::isnan(lse)) << at;
    EXPECT_TRUE(std::isnan(entropy)) << at;
  }
}

TEST(SoftmaxWeights, SumToTheBlocks) {
  const int64_t V = 2500;
  const auto logits = random_floats(V, 11, 3);
  std::vector<float> weights(static_cast<size_t>(V));
  double blocks[3];
  softmax_weights(V, logits.data(), 1.0f, weights.data(), blocks);
  for (int64_t b = 0; b < 3; ++b) {
    double sum = 0;
    for (int64_t v = b * kSoftmaxBlock; v < std::min(V, (b + 1) * kSoftmaxBlock); ++v) sum += weights[static_cast<size_t>(v)];
    EXPECT_NEAR(sum, blocks[b], 1e-5 * sum);
  }
  EXPECT_EQ(1.0f, *std::max_element(weights.begin(), weights.end()));
}

TEST(SiluMul, SaturatesWithoutNan) {
  const std::vector<float> gate{-1000, -88.5, -20, 0, 20, 88.5, 1000}, up(7, 2.0f);
  std::vector<float> y(7);
  silu_mul_forward(7, gate.data(), up.data(), y.data());
  for (size_t i = 0; i < 7; ++i) {
    const double g = gate[i];
    EXPECT_NEAR(2 * g / (1 + std::exp(-g)), y[i], 1e-6 * std::max(1.0, std::abs(g))) << g;
  }
}

TEST(Rows, BothInstructionSetsGiveTheSameBits) {
  if (cpu_isa() != Isa::kAvx512) {
    std::puts("this CPU has no AVX-512: nothing to compare");
    return;
  }
  const int64_t N = 5, C = 100;
  const auto x = random_floats(N * C, 1), w = random_floats(C, 2), dy = random_floats(N * C, 3);
  const auto run = [&] {
    std::vector<float> all(static_cast<size_t>(N * C * 3 + C + 3 * N));
    float* p = all.data();
    rms_norm_forward(N, C, x.data(), w.data(), 1e-5f, p, p + N * C);
    rms_norm_backward(N, C, x.data(), w.data(), p + N * C, dy.data(), p + N * C + N, p + 2 * N * C + N);
    silu_mul_forward(N * C, x.data(), dy.data(), p + 2 * N * C + N + C);
    logsumexp(N, C, x.data(), 1.3f, p + 3 * N * C + N + C, p + 3 * N * C + 2 * N + C);
    return all;
  };
  const auto wide = run();
  set_cpu_isa(Isa::kAvx2);
  const auto narrow = run();
  set_cpu_isa(Isa::kAvx512);
  EXPECT_EQ(0, std::memcmp(wide.data(), narrow.data(), wide.size() * sizeof(float)));
}

}  // namespace
}  // namespace r1::kernels
