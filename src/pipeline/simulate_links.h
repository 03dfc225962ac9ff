#pragma once
#include "r1/pipeline/hardware.h"
#include "simulate_model.h"

namespace r1::pipeline {

/// Bytes that one rank sends to its node's other ranks, and those that it sends to other nodes.
struct LinkBytes {
  double nvlink = 0, network = 0;
  LinkBytes& operator+=(const LinkBytes& other);
  LinkBytes operator*(double times) const { return {nvlink * times, network * times}; }
};

/// Where a simulation runs: a device with the links to its neighbours.
struct Machine {
  Hardware hardware;
  Cluster cluster;

  bool fp8() const { return cluster.fp8_flops > 0; }
  /// FLOP/s of products: an attention layer's matrices, an MLP's, and those that always run in bfloat16.
  double projection_flops() const { return fp8() ? cluster.fp8_flops * cluster.projection_share : bf16_flops(); }
  double expert_flops() const { return fp8() ? cluster.fp8_flops * cluster.expert_share : bf16_flops(); }
  double bf16_flops() const { return hardware.flops * cluster.bf16_share; }
  double memory_bytes_per_s() const { return hardware.bytes_per_s * cluster.memory_share; }
  /// Bytes of a number that travels to an expert; what comes back, and gradients, have activation_bytes.
  double dispatch_bytes() const { return fp8() ? 1 : hardware.activation_bytes; }
  /// Both links are used at once (arXiv:2412.19437v2, 3.2.2): the slower one decides.
  double seconds(const LinkBytes& bytes) const;
};

/// Nodes that a token's K experts lie on, when a layer's experts lie on `nodes` of them: their mean number for experts drawn
/// alike, n (1 - (1 - 1/n)^K), and at most `limit`, 0: no limit. DeepSeek-V3's limit is 4 (arXiv:2412.19437v2, 2.1.2).
double nodes_of_token(double nodes, double experts_per_token, double limit);

/// One all_to_all of training: a token goes once to each node that holds one of its experts, over the network to the rank of
/// its own place in that node, and from there over NVLink to the experts' ranks (arXiv:2412.19437v2, 3.2.2).
///
///   network  tokens x nodes_of_token x (n - 1)/n x values x bytes
///   nvlink   tokens x K x (g - 1)/g x values x bytes
///
/// n nodes of g ranks each share a layer's experts. The way back has the same bytes as the way there.
LinkBytes exchange_bytes(double tokens, const ModelParts& model, double expert_ranks, double gpus_per_node, double nodes_limit, double bytes);

/// reduce_scatter or all_gather of `bytes` among `ranks`, of which `per_node` lie in one node: within the node first, so that a
/// rank sends a per_node-th to the other nodes.
///
///   nvlink   (p - 1)/p x bytes          network  (n - 1)/n x bytes / p
LinkBytes scatter_bytes(double bytes, double ranks, double per_node);

}  // namespace r1::pipeline
