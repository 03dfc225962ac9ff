#pragma once
#include "r1/model/model_config.h"

namespace r1::pipeline {

/// A model as a simulation needs it: parameters by what happens to them, per layer, and FLOPs of attention.
struct ModelParts {
  model::ModelConfig config;
  double attention = 0;        ///< matrices of an attention layer
  double up_projections = 0;   ///< of them those that DeepSeek-V3 computes again in the backward pass (arXiv:2412.19437v2, 3.2.3)
  double dense_mlp = 0;        ///< of a layer without experts
  double expert = 0;           ///< one routed expert
  double shared = 0;           ///< a layer's shared experts
  double gate = 0;
  double head = 0;             ///< V C; the embedding has as many
  double mtp_projection = 0;   ///< 2 C to C, before the MTP module's block
  double dense_layers = 0, expert_layers = 0;  ///< of the trunk
  double mtp_layers = 0;       ///< 0 or 1
  double experts = 0, experts_per_token = 0;
  double pair_flops = 0;         ///< a (query, key) pair in one layer: 2 H (key + value)
  double decode_pair_flops = 0;  ///< the same when decoding reads the cached latents: 2 H (2 R + rope)
  double cache_values = 0;       ///< of a token in one layer

  static ModelParts of(const model::ModelConfig& config);
  double layers() const { return dense_layers + expert_layers; }
  /// Routed experts, MTP module's included.
  double routed_parameters() const { return (expert_layers + mtp_layers) * experts * expert; }
  /// All others: every rank that computes a layer has them.
  double replicated_parameters() const;
};

}  // namespace r1::pipeline
