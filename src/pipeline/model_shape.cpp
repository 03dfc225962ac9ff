#include "r1/pipeline/model_shape.h"

#include "r1/util/config.h"

namespace r1::pipeline {

ModelShape ModelShape::of(const model::ModelConfig& c) {
  ModelShape s;
  s.name = c.architecture;
  s.total_parameters = static_cast<double>(c.num_parameters());
  s.active_parameters = static_cast<double>(c.num_active_parameters());
  s.mtp_parameters = static_cast<double>(c.num_mtp_parameters());
  s.expert_layers = c.num_expert_layers();
  s.num_layers = c.num_layers;
  s.hidden_size = c.hidden_size;
  s.intermediate_size = s.expert_layers > 0 ? (c.num_experts_per_tok + c.n_shared_experts) * c.moe_intermediate_size : c.intermediate_size;
  s.num_heads = c.num_heads;
  s.key_width = c.key_dim();
  s.value_width = c.value_dim();
  s.cache_values_per_layer = c.cache_values();
  s.vocab_size = c.vocab_size;
  s.max_positions = c.max_positions;
  s.tie_embeddings = c.tie_embeddings;
  s.config = c;
  return s;
}

ModelShape ModelShape::load(const std::filesystem::path& file) {
  const auto node = ConfigNode::load(file);
  if (node.has("architecture")) {  // a model that `model` knows: its shapes are counted
    auto counted = of(model::ModelConfig::parse(node));
    counted.name = file.stem().string();
    return counted;
  }
  ModelShape s;
  s.name = file.stem().string();
  node.read("name", s.name);
  node.require("total_parameters", s.total_parameters, above(0.0));
  s.active_parameters = s.total_parameters;
  node.read("active_parameters", s.active_parameters, between(1.0, s.total_parameters), "It is a part of total_parameters.");
  const auto positive = at_least<int64_t>(1);
  node.require("num_layers", s.num_layers, positive);
  node.read("expert_layers", s.expert_layers, between<int64_t>(0, s.num_layers), "Of num_layers.");
  node.require("hidden_size", s.hidden_size, positive);
  node.require("intermediate_size", s.intermediate_size, positive);
  node.require("num_heads", s.num_heads, positive);
  node.require("key_width", s.key_width, positive);
  s.value_width = s.key_width;
  node.read("value_width", s.value_width, positive);
  node.require("cache_values_per_layer", s.cache_values_per_layer, positive, "2 x key heads x width, or the latent's width.");
  node.read("attention_window", s.attention_window, at_least<int64_t>(0));
  node.require("vocab_size", s.vocab_size, positive);
  node.require("max_positions", s.max_positions, positive);
  node.read("tie_embeddings", s.tie_embeddings);
  node.reject_unknown_keys();
  return s;
}

model::FlopShape ModelShape::flops() const {
  const double head = static_cast<double>(vocab_size) * static_cast<double>(hidden_size);
  // With a window, half of the layers see a constant number of tokens: their part is left out of what grows with the pairs.
  const double layers = static_cast<double>(num_layers) / (attention_window > 0 ? 2 : 1);
  return {active_parameters - head * (tie_embeddings ? 1 : 2), head, 2.0 * layers * static_cast<double>(num_heads * (key_width + value_width))};
}

model::ModelConfig ModelShape::as_config() const {
  model::ModelConfig c;
  c.hidden_size = hidden_size;
  c.intermediate_size = intermediate_size;
  c.num_layers = num_layers;
  c.num_heads = num_heads;
  c.num_kv_heads = num_heads;
  c.head_dim = key_width;
  c.vocab_size = vocab_size;
  c.max_positions = max_positions;
  c.tie_embeddings = tie_embeddings;
  return c;
}

}  // namespace r1::pipeline
