#include "kernels/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"

namespace r1::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint32_t seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(count));
  for (auto& v : x) v = normal(engine);
  return x;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<Isa> isas() {
  std::vector<Isa> all{Isa::kAvx2};
  if (cpu_isa() == Isa::kAvx512) all.push_back(Isa::kAvx512);
  return all;
}

class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) : before_(cpu_isa()) { set_cpu_isa(isa); }
  ~ForcedIsa() { set_cpu_isa(before_); }

 private:
  Isa before_;
};

TEST(Gemm, EqualsTheThreeLoopsBitForBit) {
  for (const Isa isa : isas()) {
    const ForcedIsa forced(isa);
    for (const auto& [M, N, K] : std::vector<std::array<int64_t, 3>>{
             {1, 1, 1}, {1, 17, 5}, {2, 64, 8}, {3, 33, 7}, {5, 100, 31}, {12, 32, 64}, {13, 48, 3}, {25, 15, 40}, {100, 70, 9},
             {55, 16, 130}, {1, 16, 70}, {2, 33, 129}}) {
      const auto a = random_floats(M * K, 1), b = random_floats(N * K, 2), start = random_floats(M * N, 3);
      for (const bool accumulate : {false, true}) {
        for (const bool a_turned : {false, true}) {
          for (const bool b_turned : {false, true}) {
            const MatrixView av = a_turned ? transposed(a.data(), M) : row_major(a.data(), K);
            const MatrixView bv = b_turned ? transposed(b.data(), K) : row_major(b.data(), N);
            auto expected = start, got = start, got_packed = start;
            gemm_reference(M, N, K, av, bv, expected.data(), N, accumulate);
            gemm(M, N, K, av, bv, got.data(), N, accumulate);
            PackedMatrix packed;
            packed.pack(K, N, bv);
            gemm_packed(M, av, packed, got_packed.data(), N, accumulate);
            EXPECT_TRUE(same_bits(expected, got)) << isa_name(isa) << " M=" << M << " N=" << N << " K=" << K;
            EXPECT_TRUE(same_bits(expected, got_packed)) << isa_name(isa) << " M=" << M << " N=" << N << " K=" << K;
          }
        }
      }
    }
  }
}

TEST(Gemm, ARowDoesNotDependOnTheOtherRows) {
  const int64_t N = 200, K = 150, most = 1000;
  const auto a = random_floats(most * K, 4), w = random_floats(N * K, 5);
  std::vector<float> whole(static_cast<size_t>(most * N));
  gemm(most, N, K, row_major(a.data(), K), transposed(w.data(), K), whole.data(), N);
  for (const int64_t M : {1, 2, 7, 11, 12, 13, 31, 64, 961}) {
    std::vector<float> part(static_cast<size_t>(M * N));
    gemm(M, N, K, row_major(a.data(), K), transposed(w.data(), K), part.data(), N);
    EXPECT_EQ(0, std::memcmp(part.data(), whole.data(), part.size() * sizeof(float))) << "M=" << M;
  }
}

TEST(Gemm, ThreadsChangeNothing) {
  const int64_t M = 130, N = 300, K = 90;
  const auto a = random_floats(M * K, 6), w = random_floats(N * K, 7);
  std::vector<float> one(static_cast<size_t>(M * N)), many = one;
  set_num_threads(1);
  gemm(M, N, K, row_major(a.data(), K), transposed(w.data(), K), one.data(), N);
  set_num_threads(4);
  gemm(M, N, K, row_major(a.data(), K), transposed(w.data(), K), many.data(), N);
  set_num_threads(0);
  EXPECT_TRUE(same_bits(one, many));
}

TEST(Gemm, LeavesOtherColumnsAlone) {
  const int64_t M = 3, N = 20, K = 4, ldc = 24;
  const auto a = random_floats(M * K, 8), w = random_floats(N * K, 9);
  std::vector<float> c(static_cast<size_t>(M * ldc), 7.0f);
  gemm(M, N, K, row_major(a.data(), K), transposed(w.data(), K), c.data(), ldc);
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = N; n < ldc; ++n) EXPECT_EQ(7.0f, c[static_cast<size_t>(m * ldc + n)]);
  }
}

TEST(Gemm, EmptyShapesAreFine) {
  const auto a = random_floats(4, 1);
  std::vector<float> c(4, 1.0f);
  gemm(0, 2, 2, row_major(a.data(), 2), row_major(a.data(), 2), c.data(), 2);
  EXPECT_EQ(1.0f, c[0]);
  gemm(2, 2, 0, row_major(a.data(), 0), row_major(a.data(), 2), c.data(), 2);  // an empty sum is zero
  EXPECT_EQ(0.0f, c[0]);
}

}  // namespace
}  // namespace r1::kernels
