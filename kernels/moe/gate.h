#pragma once
#include <cstdint>

namespace r1::kernels {

/// How a token picks its experts among E, in `num_groups` equal groups of consecutive experts.
struct GateShape {
  int64_t num_experts;        ///< E
  int64_t experts_per_token;  ///< K
  int64_t num_groups;
  int64_t groups_kept;    ///< groups whose experts may be picked
  bool sigmoid;           ///< score = sigmoid(logit) (DeepSeek-V3); else softmax over E (DeepSeek-V2)
  bool group_by_top_two;  ///< a group's rank: sum of its two largest scores (V3); else its largest (V2)
  bool normalize;         ///< weights of a token add up to `scale`
  float scale;            ///< routed_scaling_factor
};

/// Scores, choice and weights of every token:
///
///   s[n,e] = sigmoid(z[n,e]) or softmax_e(z[n])                    z: logits
///   choice: the K largest of s + bias within the kept groups; equal ones in order of their index
///   w[n,k] = scale s[n,e_k] (/ (sum_k s[n,e_k] + 1e-20) when normalised)
///
/// The bias decides the choice alone, weights come from the scores without it. Experts are listed by falling
/// biased score. With `chosen_NK` given (may be null) these experts are taken instead. A token's result
/// depends on its row alone. Source: arXiv:2412.19437v2 eq. (12)-(16); arXiv:2405.04434 eq. (20)-(22),
/// section 2.2.2.
void moe_gate_forward(int64_t N, const GateShape& shape, const float* logits_NE, const float* bias_E,
                      const int64_t* chosen_NK, float* scores_NE, int64_t* experts_NK, float* weights_NK);

/// dlogits from dweights_NK and dshares_NE (each may be null), where shares_NE = s / sum_e s.
void moe_gate_backward(int64_t N, const GateShape& shape, const float* scores_NE, const int64_t* experts_NK,
                       const float* dweights_NK, const float* dshares_NE, float* dlogits_NE);

}  // namespace r1::kernels
