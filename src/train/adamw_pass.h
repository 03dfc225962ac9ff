#pragma once
#include <cstdint>

// The two passes of the optimizer over raw float32 arrays. No torch header, so that this file alone is
// compiled with the flags that its loops need.
namespace r1::train {

struct AdamWConfig;

/// What is the same for all elements of one update.
struct AdamWScalars {
  /// Of update number `step`, from 1; gradient_scale 1.
  static AdamWScalars of(const AdamWConfig& config, double lr, int64_t step);

  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float keep;            ///< 1 - lr * weight_decay
  float step_size;       ///< lr / (1 - beta1^t)
  float inv_sqrt_bias2;  ///< 1 / sqrt(1 - beta2^t)
  float eps;
  float gradient_scale;  ///< clip coefficient
};

/// p, m, v of elements [0, count) in place; g is read. g may be null: a gradient of zero.
void adamw_pass(float* p, const float* g, float* m, float* v, int64_t count, const AdamWScalars& s);

/// sum of g[i]^2 in float64, always in the same order: 16 partial sums (element i belongs to sum i mod 16),
/// then a tree.
double sum_of_squares(const float* g, int64_t count);

}  // namespace r1::train
