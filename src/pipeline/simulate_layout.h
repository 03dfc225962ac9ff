#pragma once
#include <string>
#include <utility>
#include <vector>

#include "simulate_chunk.h"

namespace r1::pipeline {

/// How the ranks of a run share the model and the batch while it trains. Tensor parallelism is 1, as DeepSeek-V3's (arXiv:2412.19437v2, 3.2).
struct Layout {
  int64_t ranks = 1;
  int64_t pipeline = 1;       ///< stages
  int64_t expert = 1;         ///< ranks of a stage that share its experts
  int64_t gpus_per_node = 8;
  double nodes_limit = 0;     ///< of a token's experts; 0: all nodes

  int64_t data() const { return ranks / pipeline; }  ///< pipelines, each with its own part of the batch
  ExpertLayout experts() const { return {static_cast<double>(expert), static_cast<double>(gpus_per_node), nodes_limit}; }
  std::string text() const;   ///< "32 pipelines x 16 stages, experts over 64 ranks (8 nodes)"
};

/// Why these factors are no layout of this model: what does not multiply or divide; empty: they are one.
std::string why_not(const Layout& layout, const ModelParts& model);

/// Nodes that DeepSeek-V3's routing allows a token: `topk_group` of `n_group` groups of experts, which lie on nodes one after the other;
/// 0 where routing has no groups.
double nodes_limit_of(const model::ModelConfig& config, int64_t expert_ranks, int64_t gpus_per_node);

/// Bytes of one rank while it trains: `held` micro-batches of `tokens` are between their forward and their backward pass, and with
/// `dual` a rank has two stages. Parameters lie on a rank as 1/stages of what is replicated and 1/(stages x expert) of the routed
/// experts; optimizer state and master weights as 1/ranks (ZeRO-1).
std::vector<std::pair<std::string, double>> training_memory(const Machine& machine, const ModelParts& model, const Layout& layout, double tokens, int64_t held, bool dual,
                                                            bool checkpointing);

}  // namespace r1::pipeline
