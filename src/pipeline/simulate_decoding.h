#pragma once
#include "simulate_chunk.h"

namespace r1::pipeline {

/// Ranks that sample together: attention data-parallel on each, experts dealt over all of them (arXiv:2412.19437v2, 3.4.2).
struct SamplerLayout {
  double ranks = 1;             ///< that share one copy of the routed experts
  double gpus_per_node = 8;
  double redundant_experts = 0; ///< more experts on each rank, copies of the busiest ones (arXiv:2412.19437v2, 3.4: one in prefill)
};

/// One decoding step on one rank, in seconds; parts of all layers.
struct DecodeStep {
  double fixed = 0;      ///< launches and small kernels
  double weights = 0;    ///< reading them, or computing with them when that takes longer
  double attention = 0;  ///< reading the cache, or computing with it when that takes longer
  double exchange = 0;   ///< all_to_all that nothing hides
  double head = 0;
  double seconds() const { return fixed + weights + attention + exchange + head; }
};

/// A step in which the busiest rank has `sequences`, `cached` tokens each on average, and computes `tokens_each` tokens of each (2: a draft
/// of the MTP module is checked). Per layer, with t = sequences x tokens_each:
///
///   fixed      decode_layer_s
///   weights    bytes of replicated matrices and of the experts that any token of the group picked, (1 - (1 - K/E)^tokens) of those here,
///              / memory speed; or FLOPs / product speed
///   attention  sequences x cached x cache bytes / memory speed; or t x cached x decode_pair_flops / speed
///   exchange   dispatch_s + t K C bytes (n - 1)/n / network, combine_s + the same in bfloat16: every copy goes straight over the network
///              (DeepEP's low-latency kernels); within one node the same over NVLink
///
/// With two half-batches in turn (arXiv:2412.19437v2, 3.4.2) one's exchange hides behind the other's computing, but weights are
/// read and kernels launched twice: taken where it is faster.
DecodeStep decode_step(const Machine& machine, const ModelParts& model, const SamplerLayout& layout, double sequences, double cached, double tokens_each);

/// dispatch and combine of one layer in seconds, `tokens` on each rank.
double decode_exchange(const Machine& machine, const ModelParts& model, const SamplerLayout& layout, double tokens, bool combine);

}  // namespace r1::pipeline
