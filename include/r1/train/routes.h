#pragma once
#include <cstdint>
#include <vector>

#include "r1/rollout/engine.h"
#include "r1/train/batch.h"

namespace r1::train {

/// The experts that the sampler took, in the rows of a packed batch whose members are completions of
/// `groups`: per expert layer [N, K] int64. Empty when the groups carry no routes (a dense model).
std::vector<at::Tensor> sampled_routes(const PackedBatch& batch,
                                       const std::vector<const rollout::RolloutGroup*>& groups,
                                       int64_t num_expert_layers, int64_t experts_per_token);

/// How many of the (row, layer, place) choices differ, as sets per row and layer: 0-dim int64 on the tensors' device.
at::Tensor count_differing_routes(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b);

}  // namespace r1::train
