#pragma once
#include <cstdint>

namespace r1::kernels {

// Operations on the rows of float32 matrices. Sums run in a fixed order within a row, so a row's result does not
// depend on the other rows, the threads or the instruction set.

/// y[n,c] = x[n,c] * rstd[n] * w[c],  rstd[n] = 1 / sqrt(mean_c x[n,c]^2 + eps).   arXiv:1910.07467 eq. (4)
/// rstd_N may be null.
void rms_norm_forward(int64_t N, int64_t C, const float* x_NC, const float* w_C, float eps, float* y_NC, float* rstd_N);

/// dx = rstd (w dy - x rstd^2 mean_c(w dy x)),  dw[c] = sum_n dy x rstd.
void rms_norm_backward(int64_t N, int64_t C, const float* x_NC, const float* w_C, const float* rstd_N,
                       const float* dy_NC, float* dx_NC, float* dw_C);

/// y = silu(gate) * up,  silu(x) = x / (1 + e^-x).   SwiGLU, arXiv:2002.05202
void silu_mul_forward(int64_t count, const float* gate, const float* up, float* y);
void silu_mul_backward(int64_t count, const float* gate, const float* up, const float* dy, float* dgate, float* dup);

/// Rotates pairs (x[i], x[i + D/2]) of every head by the angle of the row's position, as Hugging Face's Llama does:
/// y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin.  cos_PD2, sin_PD2: [positions, D/2]. `direction` -1 rotates back.
void rope(int64_t N, int64_t H, int64_t D, const float* x_NHD, const int64_t* positions_N, const float* cos_PD2,
          const float* sin_PD2, float direction, float* y_NHD);

/// For z = logits[n,:] * inv_temperature:  lse[n] = log sum_v e^z,  entropy[n] = lse - sum_v softmax(z)_v z_v (nats).
/// Partial sums of 1,024 terms in float32, their total in float64. A NaN logit makes both NaN. entropy_N may be null.
void logsumexp(int64_t N, int64_t V, const float* logits_NV, float inv_temperature, float* lse_N, float* entropy_N);

/// In place: logits -> d(sum_n grad[n] * logprob[n, target[n]]) / d logits
///   = grad[n] * inv_temperature * (1[v = target] - e^(z - lse)).
void logprob_backward_(int64_t N, int64_t V, float* logits_NV, float inv_temperature, const float* lse_N,
                       const int64_t* targets_N, const float* grad_N);

/// weights[v] = e^(logits[v] * inv_temperature - max), and their sums over blocks of 1,024 in float64.
void softmax_weights(int64_t V, const float* logits_V, float inv_temperature, float* weights_V, double* block_sums);
constexpr int64_t kSoftmaxBlock = 1024;

}  // namespace r1::kernels
