#pragma once
#include <cstdint>

#include "kernels/device/types.h"

// kernels/rows/rows.h on a GPU. T is float or Bf16; all pointers are device memory, rows contiguous unless a
// stride is given; sums in float32, in an order that depends on the row's width alone. N = 0 does nothing.
namespace r1::kernels::cuda {

/// h = x + residual (rounded to T), y[n,c] = h[n,c] rstd[n] w[c], rstd[n] = 1 / sqrt(mean_c h[n,c]^2 + eps).
/// residual_NC and h_NC may both be null: then h is x. rstd_N may be null.
template <class T>
void rms_norm_forward(int64_t N, int64_t C, const T* x_NC, const T* residual_NC, const T* w_C, float eps,
                      T* h_NC, T* y_NC, float* rstd_N, cudaStream_t stream);

/// Floats that rms_norm_backward needs at `partial`.
int64_t rms_norm_partial_floats(int64_t N, int64_t C);
/// dh = rstd (w dy - h rstd^2 mean_c(w dy h)) (+ dh_in),  dw[c] = sum_n dy h rstd.
/// dh_in_NC (may be null): what reaches h by the residual path. dh is the gradient of x and of the residual.
template <class T>
void rms_norm_backward(int64_t N, int64_t C, const T* h_NC, const T* w_C, const float* rstd_N, const T* dy_NC,
                       const T* dh_in_NC, T* dh_NC, float* dw_C, float* partial, cudaStream_t stream);

/// y[n,f] = silu(gate) up, silu(x) = x / (1 + e^-x). Rows of gate and up are `stride` apart, so both may be
/// halves of one [N, 2F] product; y is contiguous.
template <class T>
void silu_mul_forward(int64_t N, int64_t F, const T* gate, const T* up, int64_t stride, T* y_NF,
                      cudaStream_t stream);
/// dgate and dup have rows `stride` apart too.
template <class T>
void silu_mul_backward(int64_t N, int64_t F, const T* gate, const T* up, int64_t stride, const T* dy_NF,
                       T* dgate, T* dup, cudaStream_t stream);

/// Rotates the pairs (x[i], x[i + D/2]) of every head by the angle of the row's position; y may be x.
/// direction 1 turns forward, -1 back (the gradient). cos_PD2, sin_PD2 [positions, D/2] float.
template <class T>
void rope(int64_t N, int64_t H, int64_t D, const T* x_NHD, const int64_t* positions_N, const float* cos_PD2,
          const float* sin_PD2, float direction, T* y_NHD, cudaStream_t stream);

}  // namespace r1::kernels::cuda
