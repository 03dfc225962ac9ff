#include <numeric>

#include "cuda/orders.h"
#include "kernels/rows/rows_cuda.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

// The equations at kernels/rows/rms_norm.cu by plain loops in A.
template <class A>
struct RmsNorm {
  std::vector<A> y, dh, dw;
};
template <class A, class T>
RmsNorm<A> reference(int64_t N, int64_t C, const std::vector<T>& h, const std::vector<T>& w,
                     const std::vector<T>& dy, const std::vector<T>& dh_in, A eps) {
  RmsNorm<A> r{std::vector<A>(h.size()), std::vector<A>(h.size()), std::vector<A>(w.size(), A(0))};
  for (int64_t n = 0; n < N; ++n) {
    const auto at = [&](const std::vector<T>& x, int64_t c) {
      return static_cast<A>(value(x[static_cast<size_t>(n * C + c)]));
    };
    const auto weight = [&](int64_t c) { return static_cast<A>(value(w[static_cast<size_t>(c)])); };
    A squares = 0, dot = 0;
    for (int64_t c = 0; c < C; ++c) squares += at(h, c) * at(h, c);
    const A rstd = A(1) / std::sqrt(squares / static_cast<A>(C) + eps);
    for (int64_t c = 0; c < C; ++c) dot += weight(c) * at(dy, c) * at(h, c);
    for (int64_t c = 0; c < C; ++c) {
      const auto i = static_cast<size_t>(n * C + c);
      r.y[i] = at(h, c) * rstd * weight(c);
      r.dh[i] = rstd * (weight(c) * at(dy, c) - at(h, c) * rstd * rstd * dot / static_cast<A>(C));
      if (!dh_in.empty()) r.dh[i] += at(dh_in, c);
      r.dw[static_cast<size_t>(c)] += at(dy, c) * at(h, c) * rstd;
    }
  }
  return r;
}

template <class T>
struct RmsNormCuda : testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(RmsNormCuda, Types);

TYPED_TEST(RmsNormCuda, ForwardAndBackwardAgainstFloat64) {
  using T = TypeParam;
  const float eps = 1e-5f;
  for (const auto& [N, C] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 8}, {1, 1}, {1, 8}, {3, 129}, {7, 100}, {300, 40}, {2, 4104}, {2, 16400}}) {
    for (const bool residual : {false, true}) {
      const auto seed = static_cast<uint32_t>(N * 7 + C);
      const auto x = random_values<T>(N * C, seed), extra = random_values<T>(residual ? N * C : 0, seed + 1),
                 w = random_values<T>(C, seed + 2), dy = random_values<T>(N * C, seed + 3),
                 dh_in = random_values<T>(residual ? N * C : 0, seed + 4);
      std::vector<T> h = x;
      for (size_t i = 0; i < extra.size(); ++i) h[i] = round_to<T>(value(x[i]) + value(extra[i]));
      DeviceArray<T> dx(x, "x"), dextra(extra, "residual"), dw_in(w, "w"), ddy(dy, "dy"), din(dh_in, "dh_in");
      DeviceArray<T> dh_sum(residual ? N * C : 0, "h"), y(N * C, "y"), grad(N * C, "dh");
      DeviceArray<float> rstd(N, "rstd"), dw(C, "dw"),
          partial(cuda::rms_norm_partial_floats(N, C), "partial");
      const auto all = deterministic<T>([&] {
        cuda::rms_norm_forward<T>(N, C, dx.data(), residual ? dextra.data() : nullptr, dw_in.data(), eps,
                                  residual ? dh_sum.data() : nullptr, y.data(), rstd.data(), nullptr);
        if (residual) {
          EXPECT_TRUE(same_bits(dh_sum.to_host(), h));
        }
        cuda::rms_norm_backward<T>(N, C, residual ? dh_sum.data() : dx.data(), dw_in.data(), rstd.data(),
                                   ddy.data(), residual ? din.data() : nullptr, grad.data(), dw.data(),
                                   partial.data(), nullptr);
        auto out = y.to_host();
        const auto g = grad.to_host();
        out.insert(out.end(), g.begin(), g.end());
        return out;
      });
      const auto exact = reference<double>(N, C, h, w, dy, dh_in, eps);
      const auto plain = reference<float>(N, C, h, w, dy, dh_in, eps);
      const std::vector<T> got_y(all.begin(), all.begin() + N * C), got_dh(all.begin() + N * C, all.end());
      EXPECT_TRUE(within_twice_plain(got_y, plain.y, exact.y)) << "y " << N << " x " << C;
      EXPECT_TRUE(within_twice_plain(got_dh, plain.dh, exact.dh, 1.0)) << "dh " << N << " x " << C;
      EXPECT_TRUE(within_twice_plain(dw.to_host(), plain.dw, exact.dw)) << "dw " << N << " x " << C;
    }
  }
}

TEST(RmsNormCudaGradient, AgreesWithCentralDifferences) {
  const int64_t N = 2, C = 9;
  const auto x = random_values<float>(N * C, 1), w = random_values<float>(C, 2),
             dy = random_values<float>(N * C, 3);
  const auto exact = reference<double>(N, C, x, w, dy, {}, 1e-5);
  const auto loss = [&](const std::vector<double>& at) {
    const auto r = reference<double>(N, C, at, std::vector<double>(w.begin(), w.end()),
                                     std::vector<double>(dy.begin(), dy.end()), {}, 1e-5);
    double sum = 0;
    for (size_t i = 0; i < r.y.size(); ++i) sum += r.y[i] * static_cast<double>(dy[i]);
    return sum;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> above(x.begin(), x.end()), below = above;
    above[i] += 1e-6;
    below[i] -= 1e-6;
    EXPECT_NEAR((loss(above) - loss(below)) / 2e-6, exact.dh[i], 1e-7) << i;
  }
}

#if !defined(R1_ON_GPU)
TEST(RmsNormCudaTraffic, PassesMemoryOnce) {
  const int64_t N = 4, C = 1024;
  DeviceArray<Bf16> x(random_values<Bf16>(N * C, 1), "x"), w(random_values<Bf16>(C, 2), "w"), y(N * C, "y");
  DeviceArray<float> rstd(N, "rstd");
  emulator::reset_traffic();
  cuda::rms_norm_forward<Bf16>(N, C, x.data(), nullptr, w.data(), 1e-5f, nullptr, y.data(), rstd.data(),
                               nullptr);
  EXPECT_EQ(2 * N * C + 2 * N * C, emulator::traffic().read_bytes);  // x, and w once a row (from L2)
  EXPECT_EQ(2 * N * C + 4 * N, emulator::traffic().written_bytes);
}
#endif

}  // namespace
}  // namespace r1::test
