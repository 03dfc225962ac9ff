#include "kernels/moe/experts.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"

namespace r1::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed, float scale = 1.0f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (auto& v : x) v = scale * normal(engine);
  return x;
}

/// Everything that one forward and backward pass writes. C and F are no multiples of 16; expert 0 has no token.
std::vector<float> forward_and_backward() {
  const int64_t N = 150, K = 3, E = 7, C = 37, F = 21;
  std::vector<int64_t> choice;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t k = 0; k < K; ++k) choice.push_back(1 + (n * n + 2 * k) % (E - 1));
  }
  const auto order = order_by_expert(N, K, E, choice.data());
  const auto x = random_floats(N * C, 1), dy = random_floats(N * C, 2), weights = random_floats(N * K, 3);
  const auto all = random_floats(3 * E * C * F, 4, 0.2f);
  std::vector<float> out(static_cast<size_t>(2 * N * K * F + 2 * N * C + N * K + 3 * E * C * F), 0.0f);
  float* at = out.data();
  const auto take = [&](int64_t count) { return std::exchange(at, at + count); };
  std::vector<ExpertMatrices> matrices;
  std::vector<ExpertGradients> gradients;
  for (int64_t e = 0; e < E; ++e) {
    const float* m = all.data() + 3 * e * C * F;
    matrices.push_back({m, m + C * F, m + 2 * C * F, nullptr, nullptr, nullptr});
    float* g = take(3 * C * F);
    gradients.push_back({g, g + C * F, g + 2 * C * F});
  }
  float *gate = take(N * K * F), *up = take(N * K * F), *y = take(N * C), *dx = take(N * C), *dweights = take(N * K);
  experts_forward(N, {C, F}, order, matrices, x.data(), weights.data(), gate, up, y);
  experts_backward(N, {C, F}, order, matrices, x.data(), weights.data(), gate, up, dy.data(), dx, dweights, gradients);
  return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Experts, ThreadsAndInstructionSetChangeNoBit) {
  const Isa best = cpu_isa();
  const auto expected = forward_and_backward();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    EXPECT_TRUE(same_bits(expected, forward_and_backward())) << threads << " threads";
  }
  set_num_threads(0);
  set_cpu_isa(Isa::kAvx2);
  EXPECT_TRUE(same_bits(expected, forward_and_backward()));
  set_cpu_isa(best);
}

TEST(Experts, TheOrderIsAStableSortAndTheLargestComesFirst) {
  const std::vector<int64_t> choice{2, 0, 2, 3, 0, 2};
  const auto order = order_by_expert(3, 2, 5, choice.data());
  EXPECT_EQ(order.offsets, (std::vector<int64_t>{0, 2, 2, 5, 6, 6}));
  EXPECT_EQ(order.pairs, (std::vector<int64_t>{1, 4, 0, 2, 5, 3}));
  EXPECT_EQ(order.active, (std::vector<int64_t>{2, 0, 3}));
  EXPECT_EQ(order.token(4), 2);
}

}  // namespace
}  // namespace r1::kernels
