#include "r1/pipeline/cluster.h"

namespace r1::pipeline {

Cluster Cluster::parse(ConfigNode node) {
  Cluster c;
  node.require("gpus_per_node", c.gpus_per_node, at_least<int64_t>(1));
  node.require("nvlink_bytes_per_s", c.nvlink_bytes_per_s, above(0.0));
  node.require("fp8_flops", c.fp8_flops, at_least(0.0), "0: products run in bfloat16.");
  for (const auto& [key, value] : {std::pair{"projection_share", &c.projection_share}, {"expert_share", &c.expert_share}, {"bf16_share", &c.bf16_share},
                                   {"attention_share", &c.attention_share}, {"attention_backward_share", &c.attention_backward_share},
                                   {"decode_attention_share", &c.decode_attention_share}, {"memory_share", &c.memory_share},
                                   {"backward_share", &c.backward_share}, {"exchange_share", &c.exchange_share}}) {
    node.require(key, *value, between(1e-4, 1.0), "It is a share of the peak.");
  }
  node.require("multiprocessors", c.multiprocessors, at_least(1.0));
  node.require("exchange_multiprocessors", c.exchange_multiprocessors, between(0.0, c.multiprocessors - 1), "They are a part of cluster.multiprocessors.");
  node.require("dispatch_s", c.dispatch_s, at_least(0.0));
  node.require("combine_s", c.combine_s, at_least(0.0));
  node.reject_unknown_keys();
  return c;
}

}  // namespace r1::pipeline
