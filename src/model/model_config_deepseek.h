#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "r1/model/model_config.h"

// The part of ModelConfig that only DeepSeek-V2 and V3 have: latent attention and experts.
namespace r1::model {

bool is_deepseek(const std::string& architecture);
/// Reads the keys into `c`, whose architecture and num_heads are set.
void parse_deepseek(const ConfigNode& node, ModelConfig& c);
/// Throws Error "<where>: ..." for the first value that no model can have; for other families, that such a
/// value is set at all.
void validate_deepseek(const ModelConfig& c, const std::string& where);
/// Adds the keys to a HF config.json.
void write_deepseek(const ModelConfig& c, nlohmann::json& out);

}  // namespace r1::model
