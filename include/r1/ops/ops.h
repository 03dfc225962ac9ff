#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

#include "r1/ops/packed.h"

// The differentiable operations of the transformer. float32 on a CPU runs our kernels, whose rows do not depend on the
// batch (docs/numerics.md); any other dtype or device runs the plain ATen twin, which is the definition.
namespace r1::ops {

/// y[n,o] = sum_c x[n,c] w[o,c] + bias[o].  x_NC [N, C], w_OC [O, C], bias_O [O] or undefined -> [N, O].
at::Tensor linear(const at::Tensor& x_NC, const at::Tensor& w_OC, const at::Tensor& bias_O = {});

/// y[n,c] = x[n,c] / sqrt(mean_c x[n,c]^2 + eps) * w[c].  x [..., C], w_C [C].   arXiv:1910.07467 eq. (4)
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w_C, double eps);

/// y = silu(gate) * up, silu(x) = x / (1 + e^-x); any equal shapes.   arXiv:2002.05202
at::Tensor silu_mul(const at::Tensor& gate, const at::Tensor& up);

/// Rotary positions, Hugging Face's half-split form: pairs (i, i + D/2) turned by position * frequency_i.
///   x_NHD [N, H, D];  positions_N [N] int64;  cos_PD2, sin_PD2 [positions, D/2] of x's dtype.   arXiv:2104.09864
at::Tensor rope(const at::Tensor& x_NHD, const at::Tensor& positions_N, const at::Tensor& cos_PD2,
                const at::Tensor& sin_PD2);

/// Causal attention of packed sequences, each seeing itself and its shared prefix alone:
/// out[t,h] = sum_{j<=t} softmax_j(scale q[t,h] . k[j,h']) v[j,h'],  h' = h / (H / Hkv).
///   q_NHD [N, H, D];  k_NhD, v_NhD [N, Hkv, D] -> [N, H, D];  v undefined: the values are the keys (a latent, as in MLA).
/// Gradients reach a shared prefix once per sequence that uses it.
at::Tensor attention(const at::Tensor& q_NHD, const at::Tensor& k_NhD, const at::Tensor& v_NhD,
                     const PackedLayout& layout, double scale);

/// y[n,h,o] = sum_i x[n,h,i] w[h,i,o]: a matrix per head.  x_NHI [N, H, I], w_HIO [H, I, O] of any strides -> [N, H, O].
at::Tensor head_product(const at::Tensor& x_NHI, const at::Tensor& w_HIO);

/// y[n] = w[tokens[n]].  tokens_N [N] int64, w_VC [V, C] -> [N, C]. The gradient adds rows in order: deterministic.
at::Tensor embedding(const at::Tensor& tokens_N, const at::Tensor& w_VC);

/// Log-probability of a target under softmax(h w^T / temperature), with the logits never stored whole: they are made
/// for `chunk_rows` rows at a time, and made again in the backward pass.
///   h_NC [N, C], w_VC [V, C], targets_N [N] int64, inv_temperature = 1 / T.
/// Returns {logprobs_N = z[target] - log sum_v e^z_v, entropy_N (nats, without gradient)}, z = logits / T.
std::tuple<at::Tensor, at::Tensor> linear_logprob(const at::Tensor& h_NC, const at::Tensor& w_VC,
                                                  const at::Tensor& targets_N, double inv_temperature,
                                                  int64_t chunk_rows = 128);

}  // namespace r1::ops
