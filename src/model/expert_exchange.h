#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "r1/model/expert_ranks.h"
#include "r1/ops/moe.h"

namespace r1::model {

/// ops::expert_mlp with the experts on the ranks of a group. In float32 on a CPU the same bits, forward and backward. Collective.
///
///   x_NC [N, C], experts_NK [N, K] int64 of num_experts, weights_NK [N, K]: this rank's tokens, N may be 0
///   own: the experts of this rank, in order
///   leaves: what the matrices' gradients are for: [3 own] gate, up, down of each, or [ranks][3 own], where each rank's tokens have leaves
///   of their own (ExpertRanks::by_source); all with the values of `own`. Empty: no gradients.
///
/// Forward: the tokens' rows go to their experts' ranks (ragged all_to_all), and the experts' outputs come back, to be weighted and added
/// up here. Backward: gradients and weights go, gradients of rows and weights come back. A row that goes to several experts of one
/// rank is sent for each.
///
/// On a device, and in another dtype, rows travel in the dtype of x, the experts' rank makes one ops::expert_mlp of all rows, and the
/// weighting is here in float32, so that backward weighted gradients go and gradients of rows come back; `leaves` must be the matrices
/// themselves (not by_source). The host waits once, for the counts of rows, in the forward pass.
at::Tensor exchanged_experts(const at::Tensor& x_NC, const at::Tensor& experts_NK, const at::Tensor& weights_NK, int64_t num_experts,
                             const std::vector<ops::ExpertWeights>& own, const std::vector<at::Tensor>& leaves, const ExpertRanks& ranks);

}  // namespace r1::model
