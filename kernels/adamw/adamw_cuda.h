#pragma once
#include <cstdint>
#include <vector>

#include "kernels/device/types.h"

// AdamW over all parameters in one launch, with the gradient clip and the bf16 copy of the weights in the
// same pass.
namespace r1::kernels::cuda {

/// One parameter: float32 master weights and moments, its gradient (float or Bf16, as the call says), and
/// where the bf16 copy goes that the next forward pass reads (may be null).
struct AdamWTensor {
  float* p;
  const void* g;
  float* m;
  float* v;
  Bf16* copy;
  int64_t count;
  int64_t decays;  ///< 0: no weight decay (norm weights, biases)
};

/// What a block works on: elements [begin, begin + kAdamWChunk) of a tensor.
struct AdamWChunk {
  int64_t tensor, begin;
};
constexpr int64_t kAdamWChunk = 16384;
std::vector<AdamWChunk> adamw_chunks(const std::vector<AdamWTensor>& tensors);

/// As train::AdamWScalars, but for the clip factor, which stays on the device.
struct AdamWStep {
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float keep;            ///< 1 - lr * weight_decay
  float step_size;       ///< lr / (1 - beta1^t)
  float inv_sqrt_bias2;  ///< 1 / sqrt(1 - beta2^t)
  float eps;
};

/// norm[0] = sqrt(sum of all g^2) over all tensors, norm[1] = min(1, max_norm / (norm + 1e-6)); max_norm
/// 0: 1. partial: `num_chunks` doubles. Sums in float64 in a fixed order. tensors and chunks are device
/// copies.
template <class G>
void gradient_norm(const AdamWTensor* tensors, const AdamWChunk* chunks, int64_t num_chunks, float max_norm,
                   double* partial, float* norm, cudaStream_t stream);
/// Its two halves, for ranks that have a part of the tensors each: partial[i] = sum of g^2 of chunk i; the norm of them all.
template <class G>
void gradient_squares(const AdamWTensor* tensors, const AdamWChunk* chunks, int64_t num_chunks, double* partial,
                      cudaStream_t stream);
void norm_of_squares(const double* partial, int64_t num_chunks, float max_norm, float* norm, cudaStream_t stream);

/// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
/// p = keep p - step_size m / (sqrt(v) inv_sqrt_bias2 + eps),  copy = bf16(p);  g = clip[0] * gradient.
/// clip: device pointer, norm + 1 of gradient_norm.
template <class G>
void adamw_step(const AdamWTensor* tensors, const AdamWChunk* chunks, int64_t num_chunks,
                const AdamWStep& step, const float* clip, cudaStream_t stream);

}  // namespace r1::kernels::cuda
