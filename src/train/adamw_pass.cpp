#include "adamw_pass.h"

#include <math.h>

// Plain loops that the compiler vectorises, built for SSE2 and for AVX2 without fused multiply-adds:
// multiplication, division and square root are IEEE operations lane by lane, so both give the same bits.
#if defined(__x86_64__)
#define R1_AVX2 __attribute__((target("avx2")))
#define R1_HAS_AVX2 1
#else
#define R1_AVX2
#define R1_HAS_AVX2 0
#endif
#define R1_INLINE static inline __attribute__((always_inline))

namespace r1::train {
namespace {

constexpr int kLanes = 16;

// Memory-bound: 28 bytes an element (p, m, v read and written, g read).
R1_INLINE void update(float* __restrict p, const float* __restrict g, float* __restrict m,
                      float* __restrict v, int64_t count, const AdamWScalars& scalars) {
  const AdamWScalars s = scalars;  // a local copy, so that no store can change it
  for (int64_t i = 0; i < count; ++i) {
    const float gradient = s.gradient_scale * g[i];
    const float first = s.beta1 * m[i] + s.one_minus_beta1 * gradient;
    const float second = s.beta2 * v[i] + s.one_minus_beta2 * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    p[i] = s.keep * p[i] - s.step_size * (first / (sqrtf(second) * s.inv_sqrt_bias2 + s.eps));
  }
}

R1_INLINE void update_without_gradient(float* __restrict p, float* __restrict m, float* __restrict v,
                                       int64_t count, const AdamWScalars& scalars) {
  const AdamWScalars s = scalars;
  for (int64_t i = 0; i < count; ++i) {
    const float first = s.beta1 * m[i];
    const float second = s.beta2 * v[i];
    m[i] = first;
    v[i] = second;
    p[i] = s.keep * p[i] - s.step_size * (first / (sqrtf(second) * s.inv_sqrt_bias2 + s.eps));
  }
}

R1_INLINE double squares(const float* __restrict g, int64_t count) {
  double sums[kLanes] = {};
  const int64_t whole = count - count % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double x = g[i + lane];
      sums[lane] += x * x;
    }
  }
  for (int64_t i = whole; i < count; ++i) sums[i - whole] += static_cast<double>(g[i]) * g[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

R1_AVX2 void pass_avx2(float* p, const float* g, float* m, float* v, int64_t count, const AdamWScalars& s) {
  g != nullptr ? update(p, g, m, v, count, s) : update_without_gradient(p, m, v, count, s);
}
R1_AVX2 double squares_avx2(const float* g, int64_t count) { return squares(g, count); }

bool has_avx2() {
#if R1_HAS_AVX2
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
#else
  return false;
#endif
}

}  // namespace

void adamw_pass(float* p, const float* g, float* m, float* v, int64_t count, const AdamWScalars& s) {
  if (has_avx2()) return pass_avx2(p, g, m, v, count, s);
  g != nullptr ? update(p, g, m, v, count, s) : update_without_gradient(p, m, v, count, s);
}

double sum_of_squares(const float* g, int64_t count) {
  return has_avx2() ? squares_avx2(g, count) : squares(g, count);
}

}  // namespace r1::train
