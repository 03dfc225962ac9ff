#pragma once
#include <torch/torch.h>

// The steps of an expert layer on a device, as tensors: what device_moe.cpp puts together and differentiates. All without
// waiting for the device; bf16.
//
// `library`: at::_grouped_mm makes the product, else kernels/grouped_gemm. It has kernels for sm_90 and sm_100 alone and on
// others loops over the experts, waiting for the device.
namespace r1::ops::device {

/// The M = N K pairs (token, place) sorted by expert, named as in kernels/moe/moe_cuda.h; int32.
struct ExpertOrder {
  int64_t N, K, E;
  at::Tensor offsets, pairs_M, places_M;

  int64_t M() const { return N * K; }
  at::Tensor ends() const { return offsets.narrow(0, 1, E); }  ///< what at::_grouped_mm wants
};
/// experts_NK [N, K] int64, each in [0, E).
ExpertOrder order_by_expert(const at::Tensor& experts_NK, int64_t E);

/// x of each pair's token: [N, C] -> [M, C].
at::Tensor permuted(const ExpertOrder& order, const at::Tensor& x_NC);
/// Sums of a token's rows, weighted (float32) unless weights_NK is undefined: [M, C] -> [N, C].
at::Tensor unpermuted(const ExpertOrder& order, const at::Tensor& rows_MC, const at::Tensor& weights_NK);

/// Whether at::_grouped_mm is the faster one for so many rows on this device.
bool library_is_faster(const ExpertOrder& order, const at::Tensor& x);

/// y[m] = W_e x[m].  x_MI, w_EOI -> [M, O]
at::Tensor grouped_product(const ExpertOrder& order, bool library, const at::Tensor& x_MI, const at::Tensor& w_EOI);
/// dx[m] = W_e^T dy[m].  dy_MO, w_EOI -> [M, I]
at::Tensor grouped_transposed(const ExpertOrder& order, bool library, const at::Tensor& dy_MO, const at::Tensor& w_EOI);
/// dW_e = sum of dy x^T over the expert's rows.  dy_MO, x_MI -> [E, O, I]
at::Tensor grouped_outer(const ExpertOrder& order, bool library, const at::Tensor& dy_MO, const at::Tensor& x_MI);

struct ExpertHidden {
  at::Tensor h_MF;         ///< silu(gate) up
  at::Tensor gate_up_M2F;  ///< undefined unless it was to be kept
};
/// [gate | up] = W_e x of the pair's token; `keep`: for the backward pass.
ExpertHidden expert_swiglu(const ExpertOrder& order, bool library, bool keep, const at::Tensor& x_NC, const at::Tensor& w_E2FC);

struct ExpertHiddenGradients {
  at::Tensor dgate_up_M2F, dweights_NK;
};
/// Equations at kernels::cuda::expert_silu_mul_backward. g_MF becomes w h.
ExpertHiddenGradients expert_silu_mul_backward(const ExpertOrder& order, const at::Tensor& gate_up_M2F, const at::Tensor& weights_NK,
                                               const at::Tensor& g_MF);

}  // namespace r1::ops::device
