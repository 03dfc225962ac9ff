#pragma once
#include <cstdint>

#include "kernels/device/types.h"

// Routing of a mixture of experts on a GPU: gate, sort by expert, gather and weighted sum. All pointers are
// device memory. Nothing waits for the host and nothing adds floats atomically: the same bits every time.
namespace r1::kernels::cuda {

/// How a token picks its experts among E, in `num_groups` equal groups of consecutive experts.
struct GateShape {
  int64_t num_experts;        ///< E, 1 to 512
  int64_t experts_per_token;  ///< K, 1 to 32
  int64_t num_groups;         ///< 1 to 32
  int64_t groups_kept;        ///< groups whose experts may be picked
  bool sigmoid;               ///< score = sigmoid(logit) (DeepSeek-V3); else softmax over E (DeepSeek-V2)
  bool
      group_by_top_two;  ///< a group's rank: sum of its two largest biased scores (V3); else its largest (V2)
  bool normalize;        ///< weights of a token add up to `scale`
  float scale;           ///< routed_scaling_factor
};

/// s[n,e] = sigmoid(z[n,e]) or softmax_e(z[n]); the K largest of s + bias within the kept groups, equal ones
/// in order of their index; w[n,k] = scale s[n,e_k] (/ (sum_k s[n,e_k] + 1e-20) when normalised).
///   logits_NE; bias_E may be null: none; chosen_NK may be null: else these experts are taken (routing
///   replay) scores_NE, experts_NK, weights_NK: results;  counts_E (may be null): the choices of each expert
///   are added
/// Throws std::runtime_error for a shape outside the limits above.
/// Source: arXiv:2412.19437v2 eq. (12)-(16); arXiv:2405.04434 eq. (20)-(22), section 2.2.2.
void moe_gate_forward(int64_t N, const GateShape& shape, const float* logits_NE, const float* bias_E,
                      const int64_t* chosen_NK, float* scores_NE, int64_t* experts_NK, float* weights_NK,
                      int64_t* counts_E, cudaStream_t stream);

/// dlogits_NE from dweights_NK and dshares_NE (each may be null), where shares = s / sum_e s (the balance
/// loss sees them).
void moe_gate_backward(int64_t N, const GateShape& shape, const float* scores_NE, const int64_t* experts_NK,
                       const float* dweights_NK, const float* dshares_NE, float* dlogits_NE,
                       cudaStream_t stream);

/// The M = N K pairs (token n, place k), pair i = n K + k, sorted by expert, stable. E up to 1024, M below
/// 2^31.
struct ExpertOrder {
  int32_t* offsets;  ///< [E + 1]: expert e owns places offsets[e] .. offsets[e + 1] - 1; offsets + 1 is what
                     ///< _grouped_mm wants
  int32_t* pairs;    ///< [M]: the pair at a place
  int32_t* places;   ///< [M]: the place of a pair, its inverse
};
/// int32 numbers that order_by_expert needs at `scratch`.
int64_t order_scratch_ints(int64_t M, int64_t E);
/// experts: [M], each in [0, E).
void order_by_expert(int64_t M, int64_t E, const int64_t* experts, const ExpertOrder& order, int32_t* scratch,
                     cudaStream_t stream);

/// out[place] = x[pairs[place] / K].  x_NC [N, C] -> out_MC [N K, C].
template <class T>
void permute_rows(int64_t N, int64_t K, int64_t C, const T* x_NC, const int32_t* pairs, T* out_MC,
                  cudaStream_t stream);
/// y[n] = sum_k w[n,k] rows[places[n K + k]], added in order of k in float32; weights_NK null: all 1, which
/// is the gradient of permute_rows.  rows_MC [N K, C] -> y_NC [N, C].
template <class T>
void unpermute_rows(int64_t N, int64_t K, int64_t C, const T* rows_MC, const int32_t* places,
                    const float* weights_NK, T* y_NC, cudaStream_t stream);
/// drows[places[n K + k]] = w[n,k] dy[n],  dw[n,k] = sum_c dy[n,c] rows[places[n K + k], c].
template <class T>
void unpermute_rows_backward(int64_t N, int64_t K, int64_t C, const T* rows_MC, const int32_t* places,
                             const float* weights_NK, const T* dy_NC, T* drows_MC, float* dweights_NK,
                             cudaStream_t stream);

/// An expert's gradients between its two products. With h = silu(gate) up, g = W_down^T dy of a place's token
/// and w its weight:  dw = sum_f g h,  dh = w g,  dgate = dh up s (1 + gate (1 - s)),  dup = dh silu(gate),
/// s = 1 / (1 + e^-gate);  and wh = w h, whose outer product with dy is the gradient of W_down. So neither h nor the
/// expert's output has to be kept.
///   gate_up_M2F, dgate_up_M2F [M, 2F]: gate, then up; g_MF, wh_MF [M, F], which may be the same memory;
///   pairs_M [M]; weights_NK, dweights_NK by pair
template <class T>
void expert_silu_mul_backward(int64_t M, int64_t F, const T* gate_up_M2F, const T* g_MF, const int32_t* pairs_M,
                              const float* weights_NK, T* dgate_up_M2F, T* wh_MF, float* dweights_NK,
                              cudaStream_t stream);

/// bias[l,e] += gamma where expert e of layer l got fewer than the mean of the layer's counts, -= gamma where
/// it got more. counts_LE: of the whole step, over all ranks.  Source: arXiv:2412.19437v2 section 2.1.2.
void moe_bias_update(int64_t L, int64_t E, const int64_t* counts_LE, float gamma, float* bias_LE,
                     cudaStream_t stream);

}  // namespace r1::kernels::cuda
