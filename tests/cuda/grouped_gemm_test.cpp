#include "kernels/grouped_gemm/grouped_gemm_cuda.h"

#include "cuda/orders.h"
#include "kernels/rows/rows_cuda.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

size_t idx(int64_t i) { return static_cast<size_t>(i); }

struct Rows {
  std::vector<int32_t> offsets{0};
  std::vector<int64_t> expert_of;  // [M]
  explicit Rows(const std::vector<int32_t>& counts) {
    for (size_t e = 0; e < counts.size(); ++e) {
      offsets.push_back(offsets.back() + counts[e]);
      expert_of.insert(expert_of.end(), idx(counts[e]), static_cast<int64_t>(e));
    }
  }
  int64_t M() const { return offsets.back(); }
  int64_t E() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

struct Case {
  std::vector<int32_t> counts;
  int64_t I, O;
};
// Tiles of 16, 64 and 128 rows; no row at all, an expert without one, all rows at one; one more than a tile.
const std::vector<Case> kCases{
    {{0}, 8, 8},          {{1}, 8, 8},         {{5, 0, 17, 1}, 72, 136}, {{0, 33, 0, 0}, 136, 264},
    {{70, 65, 0}, 64, 72}, {{129, 128}, 80, 136}, {{0, 257}, 72, 24},
};

template <class A>
A at(const std::vector<Bf16>& x, int64_t i) {
  return static_cast<A>(value(x[idx(i)]));
}

// y[m, o] = sum_i x[m, i] w[e, o, i], or with `transposed` sum_o x[m, o] w[e, o, i].
template <class A>
std::vector<A> product(const Rows& rows, int64_t I, int64_t O, const std::vector<Bf16>& x, const std::vector<Bf16>& w,
                       bool transposed) {
  const int64_t depth = transposed ? O : I, width = transposed ? I : O;
  std::vector<A> y;
  for (int64_t m = 0; m < rows.M(); ++m) {
    const int64_t matrix = rows.expert_of[idx(m)] * I * O;
    for (int64_t o = 0; o < width; ++o) {
      A sum = 0;
      for (int64_t k = 0; k < depth; ++k)
        sum += at<A>(x, m * depth + k) * at<A>(w, matrix + (transposed ? k * I + o : o * I + k));
      y.push_back(sum);
    }
  }
  return y;
}

TEST(GroupedGemmCuda, ProductsAgainstFloat64) {
  for (const auto& c : kCases) {
    const Rows rows(c.counts);
    DeviceArray<int32_t> offsets(rows.offsets, "offsets");
    const cuda::ExpertRows shape{rows.M(), rows.E(), offsets.data()};
    for (const bool transposed : {false, true}) {
      const int64_t depth = transposed ? c.O : c.I, width = transposed ? c.I : c.O;
      const auto x = random_values<Bf16>(rows.M() * depth, 1), w = random_values<Bf16>(rows.E() * c.I * c.O, 2, 0.2);
      DeviceArray<Bf16> dx(x, "x"), dw(w, "w"), y(rows.M() * width, "y");
      const auto got = deterministic<Bf16>([&] {
        if (transposed) {
          cuda::grouped_product_transposed(shape, c.I, c.O, dx.data(), dw.data(), y.data(), nullptr);
        } else {
          cuda::grouped_product(shape, c.I, c.O, dx.data(), dw.data(), y.data(), nullptr);
        }
        return y.to_host();
      });
      EXPECT_TRUE(within_twice_plain(got, product<float>(rows, c.I, c.O, x, w, transposed),
                                     product<double>(rows, c.I, c.O, x, w, transposed)))
          << rows.M() << " rows, " << c.I << " x " << c.O << (transposed ? " transposed" : "");
    }
  }
}

TEST(GroupedGemmCuda, OuterProductsAgainstFloat64) {
  for (const auto& c : kCases) {
    const Rows rows(c.counts);
    DeviceArray<int32_t> offsets(rows.offsets, "offsets");
    const auto dy = random_values<Bf16>(rows.M() * c.O, 3), x = random_values<Bf16>(rows.M() * c.I, 4),
               before = random_values<Bf16>(rows.E() * c.O * c.I, 5);
    DeviceArray<Bf16> ddy(dy, "dy"), dx(x, "x"), dw(rows.E() * c.O * c.I, "dw");
    for (const bool accumulate : {false, true}) {
      const auto got = deterministic<Bf16>([&] {
        if (accumulate) dw.assign(before);
        cuda::grouped_outer({rows.M(), rows.E(), offsets.data()}, c.I, c.O, ddy.data(), dx.data(), accumulate, dw.data(),
                            nullptr);
        return dw.to_host();
      });
      const auto reference = [&](auto zero) {
        using A = decltype(zero);
        std::vector<A> sum(before.size(), A(0));
        for (int64_t m = 0; m < rows.M(); ++m) {
          for (int64_t o = 0; o < c.O; ++o) {
            for (int64_t i = 0; i < c.I; ++i)
              sum[idx((rows.expert_of[idx(m)] * c.O + o) * c.I + i)] += at<A>(dy, m * c.O + o) * at<A>(x, m * c.I + i);
          }
        }
        for (size_t i = 0; i < sum.size() && accumulate; ++i) sum[i] += static_cast<A>(value(before[i]));
        return sum;
      };
      EXPECT_TRUE(within_twice_plain(got, reference(0.0f), reference(0.0))) << rows.M() << " rows, " << accumulate;
    }
  }
}

// The first half of an expert is the gathering, the product and SwiGLU after another, bit for bit.
TEST(GroupedGemmCuda, SwigluHasTheBitsOfItsParts) {
  for (const auto& c : kCases) {
    const int64_t C = c.I, F = c.O, K = 3;
    const Rows rows(c.counts);
    const int64_t M = rows.M(), N = (M + K - 1) / K;
    std::vector<int32_t> pairs;
    for (int64_t m = 0; m < M; ++m) pairs.push_back(static_cast<int32_t>(m * 7919 % M));
    const auto x = random_values<Bf16>(N * C, 6);
    std::vector<Bf16> gathered;
    for (int64_t m = 0; m < M; ++m) {
      const int64_t from = pairs[idx(m)] / K * C;
      gathered.insert(gathered.end(), x.begin() + from, x.begin() + from + C);
    }
    DeviceArray<int32_t> offsets(rows.offsets, "offsets"), dpairs(pairs, "pairs");
    DeviceArray<Bf16> dx(x, "x"), dgathered(gathered, "gathered"),
        w(random_values<Bf16>(rows.E() * 2 * F * C, 7, 0.3), "w"), h(M * F, "h"), gate_up(M * 2 * F, "gate_up"),
        h_parts(M * F, "h of parts"), gate_up_parts(M * 2 * F, "gate_up of parts");
    const cuda::ExpertRows shape{M, rows.E(), offsets.data()};
    cuda::grouped_product(shape, C, 2 * F, dgathered.data(), w.data(), gate_up_parts.data(), nullptr);
    cuda::silu_mul_forward<Bf16>(M, F, gate_up_parts.data(), gate_up_parts.data() + F, 2 * F, h_parts.data(), nullptr);
    const auto with = deterministic<Bf16>([&] {
      cuda::grouped_swiglu(shape, C, F, dx.data(), dpairs.data(), K, w.data(), gate_up.data(), h.data(), nullptr);
      return h.to_host();
    });
    EXPECT_TRUE(same_bits(h_parts.to_host(), with)) << M << " rows, " << C << " x " << F;
    EXPECT_TRUE(same_bits(gate_up_parts.to_host(), gate_up.to_host()));
    cuda::grouped_swiglu(shape, C, F, dx.data(), dpairs.data(), K, w.data(), nullptr, h.data(), nullptr);
    EXPECT_TRUE(same_bits(with, h.to_host())) << "without the copy for the backward pass";
  }
}

// 300 rows meet tiles of 128, the first 40 alone tiles of 64, the first alone one of 16.
TEST(GroupedGemmCuda, ARowDoesNotDependOnTheOthers) {
  const int64_t I = 200, O = 40;
  const auto x = random_values<Bf16>(300 * I, 8), w = random_values<Bf16>(O * I, 9), back = random_values<Bf16>(300 * O, 10);
  DeviceArray<Bf16> dx(x, "x"), dw(w, "w"), dback(back, "dy");
  std::vector<Bf16> all, all_back;
  for (const int32_t count : {300, 40, 1}) {
    DeviceArray<int32_t> offsets(std::vector<int32_t>{0, count}, "offsets");
    DeviceArray<Bf16> y(count * O, "y"), gradient(count * I, "dx");
    cuda::grouped_product({count, 1, offsets.data()}, I, O, dx.data(), dw.data(), y.data(), nullptr);
    cuda::grouped_product_transposed({count, 1, offsets.data()}, I, O, dback.data(), dw.data(), gradient.data(), nullptr);
    auto got = y.to_host(), got_back = gradient.to_host();
    if (all.empty()) {
      all = got;
      all_back = got_back;
    }
    EXPECT_TRUE(same_bits(std::vector<Bf16>(all.begin(), all.begin() + count * O), got)) << count;
    EXPECT_TRUE(same_bits(std::vector<Bf16>(all_back.begin(), all_back.begin() + count * I), got_back)) << count;
  }
}

TEST(GroupedGemmCuda, RefusesShapesItWasNotMadeFor) {
  EXPECT_THROW(cuda::grouped_product({1, 1, nullptr}, 12, 8, nullptr, nullptr, nullptr, nullptr), std::runtime_error);
  EXPECT_THROW(cuda::grouped_outer({1, 513, nullptr}, 8, 8, nullptr, nullptr, false, nullptr, nullptr), std::runtime_error);
  EXPECT_THROW(cuda::grouped_swiglu({1, 1, nullptr}, 8, 8, reinterpret_cast<const Bf16*>(8), nullptr, 1, nullptr, nullptr,
                                    nullptr, nullptr),
               std::runtime_error);
}

}  // namespace
}  // namespace r1::test
