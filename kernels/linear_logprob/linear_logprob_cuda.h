#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/device/types.h"

// Log-probabilities of a linear layer's softmax without its logits in memory.  h_NC [N, C], w_VC [V, C] bf16,
// C a multiple of 8, pointers 16-byte aligned; otherwise std::runtime_error. z = inv_temperature * h w^T.
namespace r1::kernels::cuda {

/// Floats that linear_logprob_forward needs at `partial`.
int64_t linear_logprob_partial_floats(int64_t N);

/// logprobs[n] = z[n, targets[n]] - lse[n],  lse[n] = log sum_v e^z,  entropy[n] = lse - sum_v softmax(z)_v
/// z_v (nats). A row's bits do not depend on the other rows. entropy_N may be null. Targets outside [0, V)
/// make the log-probability NaN.
void linear_logprob_forward(int64_t N, int64_t C, int64_t V, const Bf16* h_NC, const Bf16* w_VC,
                            const int64_t* targets_N, float inv_temperature, float* logprobs_N, float* lse_N,
                            float* entropy_N, float* partial, cudaStream_t stream);

/// Gradient of sum_n grad[n] logprobs[n] by the logits first_v .. first_v + columns - 1 of all rows, made
/// again from h and w:
///   dlogits[n, v - first_v] = grad[n] inv_temperature (1[v = target] - e^(z - lse)),  [N, columns] bf16
/// The caller goes through V in pieces that fit its memory and multiplies: dh += dlogits w[piece], dw[piece]
/// = dlogits^T h.
void linear_logprob_dlogits(int64_t N, int64_t C, int64_t V, const Bf16* h_NC, const Bf16* w_VC,
                            const int64_t* targets_N, float inv_temperature, const float* lse_N,
                            const float* grad_N, int64_t first_v, int64_t columns, Bf16* dlogits,
                            cudaStream_t stream);

}  // namespace r1::kernels::cuda
