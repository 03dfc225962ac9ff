#include "r1/pipeline/hardware.h"

#include "r1/util/config.h"

namespace r1::pipeline {

Hardware Hardware::load(const std::filesystem::path& file) {
  const auto node = ConfigNode::load(file);
  Hardware h;
  h.name = file.stem().string();
  node.read("name", h.name);
  node.require("memory_bytes", h.memory_bytes, at_least(0.0), "0 takes this machine's.");
  for (const auto& [key, value] : {std::pair{"flops", &h.flops}, {"bytes_per_s", &h.bytes_per_s}, {"weight_bytes", &h.weight_bytes},
                                   {"gradient_bytes", &h.gradient_bytes}, {"activation_bytes", &h.activation_bytes}, {"cache_bytes", &h.cache_bytes}}) {
    node.require(key, *value, above(0.0));
  }
  for (const auto& [key, value] : {std::pair{"network_bytes_per_s", &h.network_bytes_per_s}, {"watts", &h.watts}, {"price_per_hour", &h.price_per_hour},
                                   {"decode_layer_s", &h.decode_layer_s}, {"exchange_s", &h.exchange_s}, {"master_bytes", &h.master_bytes},
                                   {"moment_bytes", &h.moment_bytes}}) {
    node.require(key, *value, at_least(0.0));
  }
  for (const auto& [key, value] : {std::pair{"train_utilisation", &h.train_utilisation}, {"forward_utilisation", &h.forward_utilisation},
                                   {"bandwidth_utilisation", &h.bandwidth_utilisation}}) {
    node.require(key, *value, between(1e-4, 1.0), "It is a share of the peak.");
  }
  node.require("decoding_copies", h.decoding_copies);
  node.reject_unknown_keys();
  return h;
}

}  // namespace r1::pipeline
