#include <numeric>

#include "cuda/orders.h"
#include "kernels/moe/moe_cuda.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

template <class A>
struct Gate {
  std::vector<A> scores, weights;
  std::vector<int64_t> experts;
};

size_t idx(int64_t i) { return static_cast<size_t>(i); }

// The equations at moe_cuda.h by sorting.
template <class A, class L>
Gate<A> gate(int64_t N, const cuda::GateShape& s, const std::vector<L>& logits,
             const std::vector<float>& bias, const std::vector<int64_t>& chosen) {
  const int64_t E = s.num_experts, K = s.experts_per_token, size = E / s.num_groups;
  Gate<A> r;
  for (int64_t n = 0; n < N; ++n) {
    std::vector<A> score(idx(E)), biased(idx(E));
    A sum = 0;
    const A top = static_cast<A>(*std::max_element(logits.begin() + n * E, logits.begin() + (n + 1) * E));
    for (int64_t e = 0; e < E; ++e) {
      const A z = static_cast<A>(logits[idx(n * E + e)]);
      score[idx(e)] = s.sigmoid ? A(1) / (A(1) + std::exp(-z)) : std::exp(z - top);
      sum += score[idx(e)];
    }
    for (int64_t e = 0; e < E; ++e) {
      if (!s.sigmoid) score[idx(e)] /= sum;
      biased[idx(e)] = score[idx(e)] + (bias.empty() ? A(0) : static_cast<A>(bias[idx(e)]));
    }
    std::vector<int64_t> groups(idx(s.num_groups)), order;
    std::iota(groups.begin(), groups.end(), 0);
    const auto rank = [&](int64_t g) {
      std::vector<A> x(biased.begin() + g * size, biased.begin() + (g + 1) * size);
      std::sort(x.rbegin(), x.rend());
      return s.group_by_top_two && size > 1 ? x[0] + x[1] : x[0];
    };
    std::sort(groups.begin(), groups.end(),
              [&](int64_t a, int64_t b) { return std::pair(-rank(a), a) < std::pair(-rank(b), b); });
    groups.resize(idx(s.groups_kept));
    std::sort(groups.begin(), groups.end());
    for (const int64_t g : groups) {
      for (int64_t e = g * size; e < (g + 1) * size; ++e) order.push_back(e);
    }
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return std::pair(-biased[idx(a)], a) < std::pair(-biased[idx(b)], b);
    });
    A total = 0;
    for (int64_t k = 0; k < K; ++k) {
      const int64_t e = chosen.empty() ? order[idx(k)] : chosen[idx(n * K + k)];
      r.experts.push_back(e);
      r.weights.push_back(score[idx(e)]);
      total += score[idx(e)];
    }
    for (int64_t k = 0; k < K; ++k)
      r.weights[idx(n * K + k)] *= static_cast<A>(s.scale) / (s.normalize ? total + A(1e-20) : A(1));
    r.scores.insert(r.scores.end(), score.begin(), score.end());
  }
  return r;
}

const std::vector<cuda::GateShape> kShapes{
    {256, 8, 8, 4, true, true, true, 2.5f},    // DeepSeek-V3
    {64, 6, 1, 1, false, false, false, 1.0f},  // DeepSeek-V2-Lite
    {160, 6, 8, 3, false, false, false, 16.0f}, {1, 1, 1, 1, true, true, true, 1.0f},
    {6, 3, 3, 2, true, true, true, 1.0f},       {300, 32, 5, 4, true, true, false, 1.5f},
};

TEST(MoeGateCuda, ForwardAgainstFloat64) {
  for (const auto& s : kShapes) {
    for (const int64_t N : {0, 1, 37}) {
      const auto logits =
          random_values<float>(N * s.num_experts, static_cast<uint32_t>(N + s.num_experts), 2);
      const auto bias = random_values<float>(s.num_experts, 3, 0.1);
      const int64_t NE = N * s.num_experts, NK = N * s.experts_per_token;
      DeviceArray<float> z(logits, "logits"), b(bias, "bias"), scores(NE, "scores"), weights(NK, "weights");
      DeviceArray<int64_t> experts(NK, "experts"),
          counts(std::vector<int64_t>(idx(s.num_experts), 100), "counts");
      const auto got = deterministic<float>([&] {
        counts.assign(std::vector<int64_t>(idx(s.num_experts), 100));
        cuda::moe_gate_forward(N, s, z.data(), b.data(), nullptr, scores.data(), experts.data(),
                               weights.data(), counts.data(), nullptr);
        return weights.to_host();
      });
      const auto exact = gate<double>(N, s, logits, bias, {});
      EXPECT_EQ(exact.experts, experts.to_host());
      EXPECT_TRUE(within_twice_plain(got, gate<float>(N, s, logits, bias, {}).weights, exact.weights));
      EXPECT_TRUE(
          within_twice_plain(scores.to_host(), gate<float>(N, s, logits, bias, {}).scores, exact.scores));
      std::vector<int64_t> expected(idx(s.num_experts), 100);
      for (const int64_t e : exact.experts) ++expected[idx(e)];
      EXPECT_EQ(expected, counts.to_host());
    }
  }
}

TEST(MoeGateCuda, EqualScoresGoToTheLowerIndexAndNanToNobodyTwice) {
  const cuda::GateShape s{64, 4, 4, 2, true, true, true, 1.0f};
  DeviceArray<float> z(std::vector<float>(64, 0.5f), "logits"), scores(64, "scores"), weights(4, "weights");
  DeviceArray<int64_t> experts(4, "experts");
  cuda::moe_gate_forward(1, s, z.data(), nullptr, nullptr, scores.data(), experts.data(), weights.data(),
                         nullptr, nullptr);
  EXPECT_EQ((std::vector<int64_t>{0, 1, 2, 3}), experts.to_host());
  z.assign(std::vector<float>(64, NAN));
  cuda::moe_gate_forward(1, s, z.data(), nullptr, nullptr, scores.data(), experts.data(), weights.data(),
                         nullptr, nullptr);
  EXPECT_EQ((std::vector<int64_t>{0, 1, 2, 3}), experts.to_host());
}

TEST(MoeGateCuda, TakesTheExpertsThatWereChosenBefore) {
  const auto& s = kShapes[0];
  const int64_t N = 3;
  const auto logits = random_values<float>(N * 256, 1);
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < N * 8; ++i) chosen.push_back((i * 37) % 256);
  DeviceArray<float> z(logits, "logits"), scores(N * 256, "scores"), weights(N * 8, "weights");
  DeviceArray<int64_t> before(chosen, "chosen"), experts(N * 8, "experts");
  cuda::moe_gate_forward(N, s, z.data(), nullptr, before.data(), scores.data(), experts.data(),
                         weights.data(), nullptr, nullptr);
  EXPECT_EQ(chosen, experts.to_host());
  EXPECT_LE(max_error(weights.to_host(), gate<double>(N, s, logits, {}, chosen).weights), 1e-6);
}

// The gradient of sum(weights dw) + sum(shares ds) by central differences in float64 with the choice held
// fixed.
TEST(MoeGateCuda, BackwardAgainstCentralDifferences) {
  for (const auto& s : kShapes) {
    const int64_t N = 2, E = s.num_experts, K = s.experts_per_token;
    const auto logits = random_values<float>(N * E, 5), dw = random_values<float>(N * K, 6),
               dshare = random_values<float>(N * E, 7);
    const auto forward = gate<double>(N, s, logits, {}, {});
    std::vector<float> scores_f;
    for (const double x : forward.scores) scores_f.push_back(static_cast<float>(x));
    DeviceArray<float> scores(scores_f, "scores"), grad(dw, "dweights"), shares(dshare, "dshares"),
        dlogits(N * E, "dlogits");
    DeviceArray<int64_t> experts(forward.experts, "experts");
    const auto got = deterministic<float>([&] {
      cuda::moe_gate_backward(N, s, scores.data(), experts.data(), grad.data(), shares.data(), dlogits.data(),
                              nullptr);
      return dlogits.to_host();
    });
    const auto loss = [&](const std::vector<double>& z) {
      const auto r = gate<double>(N, s, z, {}, forward.experts);
      double sum = 0;
      for (size_t i = 0; i < r.weights.size(); ++i) sum += r.weights[i] * static_cast<double>(dw[i]);
      for (int64_t n = 0; n < N; ++n) {
        const double total = std::accumulate(r.scores.begin() + n * E, r.scores.begin() + (n + 1) * E, 0.0);
        for (int64_t e = 0; e < E; ++e)
          sum += r.scores[idx(n * E + e)] / total * static_cast<double>(dshare[idx(n * E + e)]);
      }
      return sum;
    };
    std::vector<double> z(logits.begin(), logits.end());
    for (int64_t i = 0; i < N * E; i += std::max<int64_t>(1, E / 11)) {
      const double kept = z[idx(i)];
      z[idx(i)] = kept + 1e-5;
      const double above = loss(z);
      z[idx(i)] = kept - 1e-5;
      const double below = loss(z);
      z[idx(i)] = kept;
      EXPECT_NEAR((above - below) / 2e-5, got[idx(i)], 3e-6 * std::max(1.0f, s.scale))
          << "E=" << E << " at " << i;
    }
  }
}

struct Order {
  std::vector<int32_t> offsets, pairs, places;
};
Order order_of(const std::vector<int64_t>& experts, int64_t E) {
  Order r;
  r.offsets.assign(idx(E + 1), 0);
  r.pairs.resize(experts.size());
  r.places.resize(experts.size());
  std::iota(r.pairs.begin(), r.pairs.end(), 0);
  std::sort(r.pairs.begin(), r.pairs.end(), [&](int32_t a, int32_t b) {
    return std::pair(experts[idx(a)], a) < std::pair(experts[idx(b)], b);
  });
  for (size_t p = 0; p < r.pairs.size(); ++p) r.places[idx(r.pairs[p])] = static_cast<int32_t>(p);
  for (const int64_t e : experts) ++r.offsets[idx(e + 1)];
  for (size_t e = 0; e < idx(E); ++e) r.offsets[e + 1] += r.offsets[e];
  return r;
}

TEST(MoeOrderCuda, IsTheStableSortByExpert) {
  struct Case {
    int64_t M, E;
    const char* what;
  };
  for (const auto& c : std::vector<Case>{{0, 4, "none"},
                                         {1, 1, "random"},
                                         {33, 5, "random"},
                                         {2049, 256, "random"},
                                         {5000, 7, "one empty"},
                                         {4096, 64, "all to one"},
                                         {3000, 1024, "random"}}) {
    std::mt19937 engine(static_cast<uint32_t>(c.M));
    std::vector<int64_t> experts;
    for (int64_t i = 0; i < c.M; ++i) {
      int64_t e = static_cast<int64_t>(engine() % static_cast<uint32_t>(c.E));
      if (c.what == std::string("one empty") && e == 3) e = 4;
      if (c.what == std::string("all to one")) e = 17;
      experts.push_back(e);
    }
    DeviceArray<int64_t> in(experts, "experts");
    DeviceArray<int32_t> offsets(c.E + 1, "offsets"), pairs(c.M, "pairs"), places(c.M, "places");
    DeviceArray<int32_t> scratch(cuda::order_scratch_ints(c.M, c.E), "scratch");
    const auto got = deterministic<int32_t>([&] {
      cuda::order_by_expert(c.M, c.E, in.data(), {offsets.data(), pairs.data(), places.data()},
                            scratch.data(), nullptr);
      return pairs.to_host();
    });
    const auto expected = order_of(experts, c.E);
    EXPECT_EQ(expected.offsets, offsets.to_host()) << c.what;
    EXPECT_EQ(expected.pairs, got) << c.what;
    EXPECT_EQ(expected.places, places.to_host()) << c.what;
  }
}

template <class T>
struct MoeRowsCuda : testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(MoeRowsCuda, Types);

TYPED_TEST(MoeRowsCuda, PermuteWeightedSumAndGradients) {
  using T = TypeParam;
  for (const auto& [N, K, C] :
       std::vector<std::array<int64_t, 3>>{{0, 2, 8}, {1, 1, 1}, {5, 3, 33}, {9, 8, 264}}) {
    const int64_t M = N * K, E = 6;
    std::vector<int64_t> experts;
    for (int64_t i = 0; i < M; ++i) experts.push_back((i * 5 + i / 3) % E);
    const auto order = order_of(experts, E);
    const auto x = random_values<T>(N * C, 1), rows = random_values<T>(M * C, 2),
               dy = random_values<T>(N * C, 3);
    const auto w = random_values<float>(M, 4);
    DeviceArray<T> in(x, "x"), permuted(M * C, "permuted"), sorted(rows, "rows"), y(N * C, "y"),
        grad(dy, "dy"), drows(M * C, "drows"), dx(N * C, "dx");
    DeviceArray<int32_t> pairs(order.pairs, "pairs"), places(order.places, "places");
    DeviceArray<float> weights(w, "weights"), dweights(M, "dweights");
    cuda::permute_rows<T>(N, K, C, in.data(), pairs.data(), permuted.data(), nullptr);
    const auto moved = permuted.to_host();
    for (int64_t p = 0; p < M; ++p) {
      for (int64_t c = 0; c < C; ++c)
        ASSERT_EQ(value(x[idx(order.pairs[idx(p)] / K * C + c)]), value(moved[idx(p * C + c)]));
    }
    const auto got = deterministic<T>([&] {
      cuda::unpermute_rows<T>(N, K, C, sorted.data(), places.data(), weights.data(), y.data(), nullptr);
      cuda::unpermute_rows_backward<T>(N, K, C, sorted.data(), places.data(), weights.data(), grad.data(),
                                       drows.data(), dweights.data(), nullptr);
      cuda::unpermute_rows<T>(N, K, C, permuted.data(), places.data(), nullptr, dx.data(), nullptr);
      return y.to_host();
    });
    const auto reference = [&](auto zero) {
      using A = decltype(zero);
      struct {
        std::vector<A> y, drows, dw, dx;
      } r;
      r.y.assign(idx(N * C), A(0));
      r.dx.assign(idx(N * C), A(0));
      r.drows.assign(idx(M * C), A(0));
      r.dw.assign(idx(M), A(0));
      for (int64_t i = 0; i < M; ++i) {
        const int64_t n = i / K, p = order.places[idx(i)];
        for (int64_t c = 0; c < C; ++c) {
          const A row = static_cast<A>(value(rows[idx(p * C + c)])),
                  d = static_cast<A>(value(dy[idx(n * C + c)])), wi = static_cast<A>(w[idx(i)]);
          r.y[idx(n * C + c)] += wi * row;
          r.dx[idx(n * C + c)] += static_cast<A>(value(x[idx(n * C + c)]));
          r.drows[idx(p * C + c)] = wi * d;
          r.dw[idx(i)] += d * row;
        }
      }
      return r;
    };
    const auto exact = reference(0.0);
    const auto plain = reference(0.0f);
    EXPECT_TRUE(within_twice_plain(got, plain.y, exact.y));
    EXPECT_TRUE(within_twice_plain(dx.to_host(), plain.dx, exact.dx));
    EXPECT_TRUE(within_twice_plain(drows.to_host(), plain.drows, exact.drows));
    EXPECT_TRUE(within_twice_plain(dweights.to_host(), plain.dw, exact.dw));
  }
}

TYPED_TEST(MoeRowsCuda, ExpertSiluMulBackwardAgainstFloat64) {
  using T = TypeParam;
  for (const auto& [M, F] : std::vector<std::pair<int64_t, int64_t>>{{0, 8}, {1, 1}, {3, 33}, {2, 2056}}) {
    const auto gate_up = random_values<T>(M * 2 * F, 1, 2), g = random_values<T>(M * F, 2);
    const auto w = random_values<float>(M, 3);
    std::vector<int32_t> pairs;
    for (int64_t m = 0; m < M; ++m) pairs.push_back(static_cast<int32_t>((m + 1) % M));
    DeviceArray<T> in(gate_up, "gate_up"), grad(g, "g"), out(M * 2 * F, "dgate_up");
    DeviceArray<int32_t> dpairs(pairs, "pairs");
    DeviceArray<float> weights(w, "weights"), dweights(M, "dweights");
    const auto wh = deterministic<T>([&] {
      grad.assign(g);  // the result takes its place
      cuda::expert_silu_mul_backward<T>(M, F, in.data(), grad.data(), dpairs.data(), weights.data(), out.data(), grad.data(),
                                        dweights.data(), nullptr);
      return grad.to_host();
    });
    const auto reference = [&](auto zero) {
      using A = decltype(zero);
      struct {
        std::vector<A> wh, dgate_up, dw;
      } r;
      r.dgate_up.assign(idx(M * 2 * F), A(0));
      r.dw.assign(idx(M), A(0));
      for (int64_t m = 0; m < M; ++m) {
        const A weight = static_cast<A>(w[idx(pairs[idx(m)])]);
        for (int64_t f = 0; f < F; ++f) {
          const A x = static_cast<A>(value(gate_up[idx(m * 2 * F + f)])), u = static_cast<A>(value(gate_up[idx(m * 2 * F + F + f)])),
                  d = static_cast<A>(value(g[idx(m * F + f)])), s = A(1) / (A(1) + std::exp(-x));
          r.wh.push_back(weight * (x * s * u));
          r.dgate_up[idx(m * 2 * F + f)] = weight * d * u * s * (A(1) + x * (A(1) - s));
          r.dgate_up[idx(m * 2 * F + F + f)] = weight * d * x * s;
          r.dw[idx(pairs[idx(m)])] += d * (x * s * u);
        }
      }
      return r;
    };
    const auto exact = reference(0.0);
    const auto plain = reference(0.0f);
    EXPECT_TRUE(within_twice_plain(wh, plain.wh, exact.wh)) << M << " x " << F;
    EXPECT_TRUE(within_twice_plain(out.to_host(), plain.dgate_up, exact.dgate_up)) << M << " x " << F;
    EXPECT_TRUE(within_twice_plain(dweights.to_host(), plain.dw, exact.dw)) << M << " x " << F;
  }
}

TEST(MoeBiasCuda, MovesTowardsTheMean) {
  DeviceArray<int64_t> counts(
      std::vector<int64_t>{4, 0, 8, 4, /**/ 1, 1, 1, 1, /**/ int64_t{1} << 40, 0, 0, 3}, "counts");
  DeviceArray<float> bias(std::vector<float>(12, 0.5f), "bias");
  cuda::moe_bias_update(3, 4, counts.data(), 0.25f, bias.data(), nullptr);
  EXPECT_EQ(
      (std::vector<float>{0.5f, 0.75f, 0.25f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.25f, 0.75f, 0.75f, 0.75f}),
      bias.to_host());
}

TEST(MoeGateCuda, RefusesShapesItWasNotMadeFor) {
  EXPECT_THROW(cuda::moe_gate_forward(1, {1024, 8, 8, 4, true, true, true, 1}, nullptr, nullptr, nullptr,
                                      nullptr, nullptr, nullptr, nullptr, nullptr),
               std::runtime_error);
  EXPECT_THROW(cuda::order_by_expert(10, 2000, nullptr, {}, nullptr, nullptr), std::runtime_error);
}

}  // namespace
}  // namespace r1::test
