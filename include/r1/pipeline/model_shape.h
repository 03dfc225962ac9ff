#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "r1/model/flops.h"
#include "r1/model/model_config.h"

namespace r1::pipeline {

/// What a plan needs to know of a model: counts. Of a model that `model` computes they follow from its config, which a file of
/// configs/models/ may hold (the keys of the `model:` section); of another one such a file has the counts (keys as the fields).
struct ModelShape {
  std::string name;
  double total_parameters = 0;
  double active_parameters = 0;      ///< that one token meets, embedding and head included; default: total_parameters
  double mtp_parameters = 0;         ///< of the module for multi-token prediction, which the counts above leave out
  int64_t num_layers = 0;
  int64_t expert_layers = 0;         ///< layers whose tokens travel to the devices that hold their experts
  int64_t hidden_size = 0;           ///< C
  int64_t intermediate_size = 0;     ///< F that one token meets in a layer: of a mixture, its active experts together
  int64_t num_heads = 0;
  int64_t key_width = 0;             ///< of a head's query and key
  int64_t value_width = 0;           ///< of a head's value; default: key_width
  int64_t cache_values_per_layer = 0;  ///< numbers of a token that a layer's KV cache keeps
  int64_t attention_window = 0;      ///< tokens that half of the layers see at most (gpt-oss); 0: all layers see all
  int64_t vocab_size = 0;            ///< V
  int64_t max_positions = 0;         ///< context, tokens
  bool tie_embeddings = false;
  std::optional<model::ModelConfig> config;  ///< that the counts were taken from; none: the file has nothing but counts

  static ModelShape of(const model::ModelConfig& config);
  /// Throws Error with file:line:key.
  static ModelShape load(const std::filesystem::path& file);

  /// What a token costs; a mixture costs its active parameters.
  model::FlopShape flops() const;
  /// Sizes for the checks that configs get, of a model that is only planned.
  model::ModelConfig as_config() const;
};

}  // namespace r1::pipeline
