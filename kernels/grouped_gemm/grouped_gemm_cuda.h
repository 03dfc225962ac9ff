#pragma once
#include <cstdint>

#include "kernels/device/types.h"

// Matrix products of experts on a GPU: each expert's rows, which lie together, meet the expert's own matrix.
// bf16 with float32 sums; widths multiples of 8, pointers 16-byte aligned, E up to 512; otherwise
// std::runtime_error. The offsets stay on the device: nothing waits for the host. Every element is one chain
// over ascending k, whatever the number of rows: a row's bits do not depend on the others.
namespace r1::kernels::cuda {

/// Which rows belong to which expert: offsets[e] .. offsets[e + 1] - 1, offsets[E] = M (moe_cuda.h makes it).
struct ExpertRows {
  int64_t M;               ///< rows in all
  int64_t E;
  const int32_t* offsets;  ///< [E + 1]
};

/// h[m] = silu(gate) up,  [gate | up] = W_e x[pairs[m] / K], each rounded to bf16 first: the first half of an
/// expert with the gathering of its rows and SwiGLU inside. The bits of permute_rows, grouped_product and
/// silu_mul_forward after another.
///   x_NC [N, C]; pairs_M [M] as order_by_expert makes it; w_E2FC [E, 2F, C]: rows of gate, then of up
///   gate_up_M2F [M, 2F]: what the backward pass needs; may be null; h_MF [M, F]
void grouped_swiglu(const ExpertRows& rows, int64_t C, int64_t F, const Bf16* x_NC, const int32_t* pairs_M, int64_t K,
                    const Bf16* w_E2FC, Bf16* gate_up_M2F, Bf16* h_MF, cudaStream_t stream);

/// y[m] = W_e x[m].  x_MI [M, I], w_EOI [E, O, I] -> y_MO [M, O].
void grouped_product(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* x_MI, const Bf16* w_EOI, Bf16* y_MO,
                     cudaStream_t stream);

/// dx[m] = W_e^T dy[m]: the gradient of grouped_product by x.  dy_MO [M, O], w_EOI [E, O, I] -> dx_MI [M, I].
void grouped_product_transposed(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* dy_MO, const Bf16* w_EOI,
                                Bf16* dx_MI, cudaStream_t stream);

/// dW_e = sum_m dy[m] x[m]^T over the expert's rows: the gradient of grouped_product by W. Zeros for an expert
/// without rows. `accumulate`: added to what dw_EOI holds.  dy_MO [M, O], x_MI [M, I] -> dw_EOI [E, O, I].
void grouped_outer(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* dy_MO, const Bf16* x_MI, bool accumulate,
                   Bf16* dw_EOI, cudaStream_t stream);

}  // namespace r1::kernels::cuda
