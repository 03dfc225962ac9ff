#include "simulate_links.h"

#include <algorithm>
#include <cmath>

namespace r1::pipeline {

LinkBytes& LinkBytes::operator+=(const LinkBytes& other) {
  nvlink += other.nvlink;
  network += other.network;
  return *this;
}

double Machine::seconds(const LinkBytes& bytes) const {
  const double nvlink_s = bytes.nvlink / (cluster.nvlink_bytes_per_s * cluster.exchange_share);
  const double network_s = bytes.network > 0 ? bytes.network / (hardware.network_bytes_per_s * cluster.exchange_share) : 0;
  return std::max(nvlink_s, network_s);
}

double nodes_of_token(double nodes, double experts_per_token, double limit) {
  const double mean = nodes * (1 - std::pow(1 - 1 / nodes, experts_per_token));
  return limit > 0 ? std::min(limit, mean) : mean;
}

LinkBytes exchange_bytes(double tokens, const ModelParts& model, double expert_ranks, double gpus_per_node, double nodes_limit, double bytes) {
  const double in_node = std::min(expert_ranks, gpus_per_node), nodes = std::max(1.0, expert_ranks / gpus_per_node);
  const double token_bytes = tokens * static_cast<double>(model.config.hidden_size) * bytes;
  return {token_bytes * model.experts_per_token * (in_node - 1) / in_node,
          token_bytes * nodes_of_token(nodes, model.experts_per_token, nodes_limit) * (nodes - 1) / nodes};
}

LinkBytes scatter_bytes(double bytes, double ranks, double per_node) {
  const double p = std::min(ranks, per_node), nodes = std::max(1.0, ranks / per_node);
  return {bytes * (p - 1) / p, bytes / p * (nodes - 1) / nodes};
}

}  // namespace r1::pipeline
