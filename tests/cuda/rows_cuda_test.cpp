#include "kernels/rows/rows_cuda.h"

#include "cuda/orders.h"
#include "support/device_array.h"

namespace r1::test {
namespace {

namespace cuda = kernels::cuda;

template <class T>
struct RowsCuda : testing::Test {};
using Types = testing::Types<float, Bf16>;
TYPED_TEST_SUITE(RowsCuda, Types);

template <class A>
struct SiluMul {
  std::vector<A> y, dgate, dup;
};
template <class A, class T>
SiluMul<A> silu_mul(const std::vector<T>& gate, const std::vector<T>& up, const std::vector<T>& dy) {
  SiluMul<A> r;
  for (size_t i = 0; i < gate.size(); ++i) {
    const A g = static_cast<A>(value(gate[i])), u = static_cast<A>(value(up[i])),
            d = static_cast<A>(value(dy[i]));
    const A s = A(1) / (A(1) + std::exp(-g));
    r.y.push_back(g * s * u);
    r.dup.push_back(d * g * s);
    r.dgate.push_back(d * u * s * (A(1) + g * (A(1) - s)));
  }
  return r;
}

TYPED_TEST(RowsCuda, SiluMulAgainstFloat64) {
  using T = TypeParam;
  for (const auto& [N, F] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {1, 1}, {3, 33}, {2, 256}, {2, 2056}}) {
    for (const bool halves : {false, true}) {  // gate and up as the two halves of one [N, 2F] product
      const int64_t stride = halves ? 2 * F : F;
      const auto gate = random_values<T>(N * F, 1, 3), up = random_values<T>(N * F, 2),
                 dy = random_values<T>(N * F, 3);
      std::vector<T> both(static_cast<size_t>(2 * N * F));
      const int64_t up_at = halves ? F : N * F;
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t f = 0; f < F; ++f) {
          both[static_cast<size_t>(n * stride + f)] = gate[static_cast<size_t>(n * F + f)];
          both[static_cast<size_t>(n * stride + f + up_at)] = up[static_cast<size_t>(n * F + f)];
        }
      }
      DeviceArray<T> in(both, "gate_up"), grad(dy, "dy"), y(N * F, "y"), out(2 * N * F, "dgate_up");
      const auto all = deterministic<T>([&] {
        cuda::silu_mul_forward<T>(N, F, in.data(), in.data() + up_at, stride, y.data(), nullptr);
        cuda::silu_mul_backward<T>(N, F, in.data(), in.data() + up_at, stride, grad.data(), out.data(),
                                   out.data() + up_at, nullptr);
        return out.to_host();
      });
      std::vector<T> dgate, dup;
      for (int64_t n = 0; n < N; ++n) {
        for (int64_t f = 0; f < F; ++f) {
          dgate.push_back(all[static_cast<size_t>(n * stride + f)]);
          dup.push_back(all[static_cast<size_t>(n * stride + f + up_at)]);
        }
      }
      const auto exact = silu_mul<double>(gate, up, dy);
      const auto plain = silu_mul<float>(gate, up, dy);
      EXPECT_TRUE(within_twice_plain(y.to_host(), plain.y, exact.y)) << N << " x " << F;
      EXPECT_TRUE(within_twice_plain(dgate, plain.dgate, exact.dgate)) << N << " x " << F;
      EXPECT_TRUE(within_twice_plain(dup, plain.dup, exact.dup)) << N << " x " << F;
    }
  }
}

TEST(SiluMulCuda, SaturatesWithoutNan) {
  const std::vector<float> gate{-1000, -88.5f, -20, 0, 20, 88.5f, 1000}, up(7, 2.0f);
  DeviceArray<float> g(gate, "gate"), u(up, "up"), y(7, "y"), dg(7, "dgate"), du(7, "dup");
  cuda::silu_mul_forward<float>(1, 7, g.data(), u.data(), 7, y.data(), nullptr);
  cuda::silu_mul_backward<float>(1, 7, g.data(), u.data(), 7, u.data(), dg.data(), du.data(), nullptr);
  const auto exact = silu_mul<double>(gate, up, up);
  EXPECT_LE(max_error(y.to_host(), exact.y), 2e-4);
  EXPECT_LE(max_error(dg.to_host(), exact.dgate), 1e-5);
}

template <class A, class T>
std::vector<A> rope(int64_t N, int64_t H, int64_t D, const std::vector<T>& x,
                    const std::vector<int64_t>& positions, const std::vector<float>& cosine,
                    const std::vector<float>& sine, A direction) {
  std::vector<A> y(x.size());
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t i = 0; i < D / 2; ++i) {
        const auto a = static_cast<size_t>((n * H + h) * D + i), b = a + static_cast<size_t>(D / 2);
        const auto at = static_cast<size_t>(positions[static_cast<size_t>(n)] * (D / 2) + i);
        const A c = cosine[at], s = sine[at] * direction, x1 = static_cast<A>(value(x[a])),
                x2 = static_cast<A>(value(x[b]));
        y[a] = x1 * c - x2 * s;
        y[b] = x2 * c + x1 * s;
      }
    }
  }
  return y;
}

TYPED_TEST(RowsCuda, RopeAgainstFloat64AndBack) {
  using T = TypeParam;
  for (const auto& [N, H, D] : std::vector<std::array<int64_t, 3>>{
           {0, 1, 8}, {1, 1, 2}, {3, 2, 6}, {5, 3, 64}, {2, 14, 64}, {2, 1, 34}}) {
    const int64_t positions_held = 11;
    std::vector<float> cosine, sine;
    for (int64_t i = 0; i < positions_held * D / 2; ++i) {
      cosine.push_back(std::cos(0.37f * static_cast<float>(i)));
      sine.push_back(std::sin(0.37f * static_cast<float>(i)));
    }
    std::vector<int64_t> positions;
    for (int64_t n = 0; n < N; ++n) positions.push_back((n * 7 + 3) % positions_held);
    const auto x = random_values<T>(N * H * D, static_cast<uint32_t>(D));
    DeviceArray<T> in(x, "x"), y(N * H * D, "y"), back(N * H * D, "back");
    DeviceArray<int64_t> at(positions, "positions");
    DeviceArray<float> c(cosine, "cos"), s(sine, "sin");
    const auto got = deterministic<T>([&] {
      cuda::rope<T>(N, H, D, in.data(), at.data(), c.data(), s.data(), 1.0f, y.data(), nullptr);
      return y.to_host();
    });
    const auto exact = rope<double>(N, H, D, x, positions, cosine, sine, 1.0);
    EXPECT_TRUE(within_twice_plain(got, rope<float>(N, H, D, x, positions, cosine, sine, 1.0f), exact));
    cuda::rope<T>(N, H, D, y.data(), at.data(), c.data(), s.data(), -1.0f, y.data(), nullptr);  // in place
    std::vector<double> original;
    for (const T v : x) original.push_back(value(v));
    EXPECT_LE(max_error(y.to_host(), original), sizeof(T) == 2 ? 0.04 : 2e-6);
  }
}

}  // namespace
}  // namespace r1::test
