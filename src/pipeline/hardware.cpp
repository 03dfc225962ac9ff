#include "r1/pipeline/hardware.h"

#include "r1/util/config.h"

namespace r1::pipeline {

// Sources of the figures: configs/hardware/h100.yaml, to which a test compares them.
Hardware Hardware::of_gpu(const std::string& name, double memory_bytes) {
  Hardware h;
  h.name = name;
  h.memory_bytes = memory_bytes;
  h.flops = 989.4e12;
  h.bytes_per_s = 3.35e12;
  h.network_bytes_per_s = 50e9;
  h.watts = 1275;
  h.price_per_hour = 2.5;
  h.train_utilisation = h.forward_utilisation = 0.39;
  h.bandwidth_utilisation = 0.6;
  h.decode_layer_s = 100e-6;
  h.exchange_s = 490e-6;
  h.weight_bytes = h.activation_bytes = h.cache_bytes = 2;
  h.master_bytes = h.gradient_bytes = 4;
  h.moment_bytes = 8;
  h.decoding_copies = false;
  return h;
}

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
  if (node.has("cluster")) h.cluster = Cluster::parse(node.child("cluster"));
  node.reject_unknown_keys();
  return h;
}

}  // namespace r1::pipeline
