#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "r1/ops/cache.h"
#include "r1/ops/packed.h"

// Mixture of experts: which experts a token goes to, what they compute, and what keeps their loads even.
// float32 on a CPU runs our kernels (kernels/moe/), a device those of docs/kernels/moe_cuda.md, any other dtype
// the plain ATen twin.
namespace r1::ops {

/// How a token picks its experts. Groups are equal runs of consecutive experts.
struct GateRule {
  int64_t num_experts = 0;        ///< E
  int64_t experts_per_token = 0;  ///< K
  int64_t num_groups = 1;
  int64_t groups_kept = 1;  ///< groups whose experts may be picked
  bool sigmoid = true;      ///< score = sigmoid(logit) (DeepSeek-V3); false: softmax over E (DeepSeek-V2)
  bool group_by_top_two =
      true;  ///< a group's rank is the sum of its two largest biased scores (V3); false: its largest (V2)
  bool normalize = true;  ///< a token's weights add up to `scale`
  double scale = 1.0;     ///< routed_scaling_factor
};

struct Routes {
  at::Tensor experts_NK;  ///< int64, by falling biased score
  at::Tensor weights_NK;  ///< differentiable
  at::Tensor shares_NE;   ///< s / sum_e s, differentiable: for the balance loss
};

/// s = sigmoid(z) or softmax(z); the K largest of s + bias within the kept groups; w = scale s (/ sum_k s
/// when normalised).
///
///   logits_NE [N, E]; bias_E [E] or undefined: decides the choice alone; chosen_NK [N, K] int64 or
///   undefined: these experts are taken instead of chosen.
/// A token's result depends on its own row. Throws c10::Error for other shapes or an expert outside 0..E-1;
/// on a device nobody looks at chosen_NK, since that would wait for it. There the results are float32 in any
/// dtype of the logits.
/// Source: arXiv:2412.19437v2 eq. (12)-(16); arXiv:2405.04434 eq. (20)-(22) and section 2.2.2.
Routes moe_gate(const at::Tensor& logits_NE, const at::Tensor& bias_E, const GateRule& rule,
                const at::Tensor& chosen_NK = {});

/// One expert's matrices with their second copies for decoding.
struct ExpertWeights {
  at::Tensor gate_FC, up_FC, down_CF;
  PackedWeight *packed_gate = nullptr, *packed_up = nullptr, *packed_down = nullptr;
};

/// All experts' matrices behind one another, as products of groups want them; not differentiable.
struct ExpertStack {
  at::Tensor gate_up_E2FC;  ///< [E, 2F, C]: an expert's gate, then its up
  at::Tensor down_ECF;      ///< [E, C, F]
};

/// The stack whose parts the experts' matrices are, after stack_experts; a copy of them where they lie apart.
ExpertStack stacked_experts(const std::vector<ExpertWeights>& experts);

/// Gives the matrices the storage of a stack. They keep their values and their handles, so that parameters stay
/// the ones that an optimizer knows by name; it must not know their addresses yet. Where they are parts of a
/// stack already, nothing changes. Throws c10::Error unless all experts have the same shapes, dtype and device.
void stack_experts(const std::vector<ExpertWeights>& experts);

/// y[n] = sum_k w[n,k] down_e(silu(gate_e x_n) * up_e x_n), e = experts[n,k].  x_NC [N, C] -> [N, C].
///
/// The rows of an expert are gathered: nothing is padded and no token is dropped. Differentiable in x, w and
/// every matrix; an expert without tokens gets no gradient, on a device zeros. A row's bits do not depend on
/// the other rows, on a Hopper GPU as long as the experts have fewer than 64 rows in the mean.
at::Tensor expert_mlp(const at::Tensor& x_NC, const at::Tensor& experts_NK, const at::Tensor& weights_NK,
                      const std::vector<ExpertWeights>& experts);

/// Sum over the sequences of a packed batch of sum_e f_e P_e, with f_e = E / (K T) (number of the sequence's
/// T tokens that chose e) and P_e = 1/T sum_t share[t,e]; 1 per sequence for even loads. A shared prompt
/// counts in each of its sequences. Differentiable in shares_NE. Source: arXiv:2412.19437v2 eq. (17)-(20),
/// without alpha.
at::Tensor sequence_balance(const at::Tensor& shares_NE, const at::Tensor& experts_NK,
                            const PackedLayout& layout);

/// x itself; in the backward pass `loss` gets the gradient 1, as if it had been added to what is
/// differentiated. So a loss made inside a block needs no way out of it, also when the block is computed
/// again in the backward pass.
at::Tensor attach_loss(const at::Tensor& x, const at::Tensor& loss);

/// How many of the batch's choices fell on each expert: [E] int64.
at::Tensor expert_counts(const at::Tensor& experts_NK, int64_t num_experts);

}  // namespace r1::ops
