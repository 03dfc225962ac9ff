// HF config.json <-> ModelConfig. transformers 4 writes rope_theta and rope_scaling, transformers 5 one
// mapping rope_parameters with both; either is read.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model_config_deepseek.h"
#include "r1/model/model_config.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

using nlohmann::json;

/// Typed reading of one JSON object with messages that name file and key. An absent key and null are the
/// same.
class Reader {
 public:
  Reader(const json& object, std::string where, std::string prefix = "")
      : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {}

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  [[noreturn]] void fail(const char* key, const std::string& accepted, const std::string& remedy) const {
    std::string found = "absent";
    if (has(key)) {
      const auto& value = object_[key];
      // Containers are named, not printed: they may be long or nested deeply.
      found = value.is_structured() ? cat("a JSON ", value.type_name())
                                    : value.dump(-1, ' ', true, json::error_handler_t::replace);
    }
    throw Error(cat(where_, ": ", prefix_, key, " is ", found, "; accepted: ", accepted, ".\n  ", remedy));
  }

  int64_t integer(const char* key) const {
    const json& value = present(key, "an integer");
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}))
      fail(key, "an integer", kDamaged);
    return value.get<int64_t>();
  }
  int64_t integer(const char* key, int64_t fallback) const { return has(key) ? integer(key) : fallback; }

  double number(const char* key) const {
    const json& value = present(key, "a number");
    if (!value.is_number()) fail(key, "a number", kDamaged);
    return value.get<double>();
  }
  double number(const char* key, double fallback) const { return has(key) ? number(key) : fallback; }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) fail(key, "true or false", kDamaged);
    return object_[key].get<bool>();
  }

  std::string string(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) fail(key, "a string", kDamaged);
    return object_[key].get<std::string>();
  }

  Reader object(const char* key) const {
    if (!object_[key].is_object()) fail(key, "an object", kDamaged);
    return Reader(object_[key], where_, cat(prefix_, key, "."));
  }

  /// An integer or a list of integers; negative ids mean none.
  void ids(const char* key, std::vector<int64_t>& out) const {
    if (!has(key)) return;
    const json& value = object_[key];
    const auto add = [&](const json& id) {
      if (!id.is_number_integer()) fail(key, "a token id or a list of token ids", kDamaged);
      const auto number = id.get<int64_t>();
      if (number >= 0 && std::find(out.begin(), out.end(), number) == out.end()) out.push_back(number);
    };
    if (value.is_array())
      for (const auto& id : value) add(id);
    else
      add(value);
  }

  const json& raw(const char* key) const { return object_[key]; }
  const std::string& where() const { return where_; }

  static constexpr const char* kDamaged = "The file is damaged or is not a HF model configuration.";

 private:
  const json& present(const char* key, const char* wanted) const {
    if (!has(key)) fail(key, wanted, "Add the key; the model cannot be built without it.");
    return object_[key];
  }

  const json& object_;
  std::string where_, prefix_;
};

/// Attention factor of yarn for a scale: 0.1 m ln(s) + 1 (arXiv:2309.00071 eq. (22), m as DeepSeek added it).
double yarn_mscale(double scale, double m) { return scale <= 1 ? 1.0 : 0.1 * m * std::log(scale) + 1.0; }

/// `scale_scores`: DeepSeek's classes multiply the scores by the square of mscale_all_dim's factor, the others do not.
RopeScaling read_rope_scaling(const Reader& in, int64_t max_positions, bool scale_scores) {
  RopeScaling s;
  const std::string kind = in.string("rope_type", in.string("type", "default"));
  if (in.number("partial_rotary_factor", 1.0) != 1.0)
    in.fail("partial_rotary_factor", "1", "Models that rotate a part of each head are not supported.");
  if (kind == "default") return s;
  if (kind == "linear") {
    s.kind = RopeScalingKind::kLinear;
  } else if (kind == "llama3") {
    s.kind = RopeScalingKind::kLlama3;
  } else if (kind == "yarn") {
    s.kind = RopeScalingKind::kYarn;
  } else {
    in.fail(in.has("rope_type") ? "rope_type" : "type", "default, linear, llama3, yarn",
            "This scaling of rotary embeddings is not supported; set rope_scaling to null to use the model "
            "within "
            "its pre-training context.");
  }
  s.factor = in.number("factor");
  if (s.kind == RopeScalingKind::kLinear) return s;
  s.original_max_position = in.integer("original_max_position_embeddings", max_positions);
  if (s.kind == RopeScalingKind::kLlama3) {
    s.low_freq_factor = in.number("low_freq_factor");
    s.high_freq_factor = in.number("high_freq_factor");
    return s;
  }
  s.beta_fast = in.number("beta_fast", 32.0);
  s.beta_slow = in.number("beta_slow", 1.0);
  if (!in.boolean("truncate", true))
    in.fail("truncate", "true", "Only yarn with whole ramp ends is supported.");
  s.attention_factor = in.number("attention_factor", 0.0);
  const double mscale = in.number("mscale", 0.0), mscale_all_dim = in.number("mscale_all_dim", 0.0);
  if (s.attention_factor == 0.0 && mscale != 0.0 && mscale_all_dim != 0.0)
    s.attention_factor = yarn_mscale(s.factor, mscale) / yarn_mscale(s.factor, mscale_all_dim);
  if (scale_scores) s.mscale_all_dim = mscale_all_dim;
  return s;
}

void read_rope(const Reader& in, ModelConfig& c) {
  c.rope_theta = in.number("rope_theta", 10000.0);
  if (in.has("rope_parameters")) {
    const Reader rope = in.object("rope_parameters");
    c.rope_theta = rope.number("rope_theta", c.rope_theta);
    c.rope_scaling = read_rope_scaling(rope, c.max_positions, is_deepseek(c.architecture));
  } else if (in.has("rope_scaling")) {
    c.rope_scaling = read_rope_scaling(in.object("rope_scaling"), c.max_positions, is_deepseek(c.architecture));
  }
  if (in.number("partial_rotary_factor", 1.0) != 1.0)
    in.fail("partial_rotary_factor", "1", "Models that rotate a part of each head are not supported.");
}

void read_deepseek(const Reader& in, ModelConfig& c) {
  const bool v3 = c.architecture == "DeepseekV3ForCausalLM";
  c.num_kv_heads = in.integer("num_key_value_heads", c.num_heads);
  if (in.boolean("attention_bias", false)) in.fail("attention_bias", "false", "No published model of this class has biases.");
  if (in.boolean("mlp_bias", false)) in.fail("mlp_bias", "false", "No published model of this class has biases.");
  if (in.integer("moe_layer_freq", 1) != 1) in.fail("moe_layer_freq", "1", "Experts in every layer after the first dense ones.");
  c.n_routed_experts = in.integer("n_routed_experts");
  c.num_experts_per_tok = in.integer("num_experts_per_tok");
  c.n_shared_experts = in.integer("n_shared_experts", 0);
  c.moe_intermediate_size = in.integer("moe_intermediate_size");
  c.first_k_dense_replace = in.integer("first_k_dense_replace", v3 ? 3 : 0);
  c.topk_method = in.string("topk_method", v3 ? "noaux_tc" : "greedy");
  c.scoring_func = in.string("scoring_func", v3 ? "sigmoid" : "softmax");
  c.n_group = in.integer("n_group", v3 ? 8 : 1);
  c.topk_group = in.integer("topk_group", v3 ? 4 : 1);
  c.norm_topk_prob = in.boolean("norm_topk_prob", v3);
  c.routed_scaling_factor = in.number("routed_scaling_factor", v3 ? 2.5 : 1.0);
  c.q_lora_rank = in.integer("q_lora_rank", 0);  // null: not compressed
  c.kv_lora_rank = in.integer("kv_lora_rank");
  c.qk_nope_head_dim = in.integer("qk_nope_head_dim");
  c.qk_rope_head_dim = c.head_dim = in.integer("qk_rope_head_dim");
  c.v_head_dim = in.integer("v_head_dim");
  c.rope_interleave = v3 ? in.boolean("rope_interleave", true) : true;
}

/// Up to the window, sliding attention is full attention: the context is cut there instead of refusing the
/// model.
void cut_context_at_window(const Reader& in, ModelConfig& c) {
  const bool optional = c.architecture == "Qwen2ForCausalLM" || c.architecture == "Qwen3ForCausalLM";
  const bool slides = optional ? in.boolean("use_sliding_window", false) : true;
  if (slides && in.has("sliding_window"))
    c.max_positions = std::min(c.max_positions, in.integer("sliding_window"));
}

json read_json(const std::filesystem::path& file) {
  const std::string text = read_file(file);
  // A recursive reader downstream must not meet a file of a million brackets.
  const auto limit_depth = [&](int depth, json::parse_event_t, json&) {
    if (depth > 32) throw Error(cat(file.string(), ": nested deeper than 32 levels.\n  ", Reader::kDamaged));
    return true;
  };
  try {
    return json::parse(text, limit_depth);
  } catch (const json::exception& error) {
    throw Error(cat(file.string(), ": not JSON: ", error.what(),
                    ".\n  The file is damaged; write or download it again."));
  }
}

}  // namespace

ModelConfig ModelConfig::from_hf(const std::filesystem::path& path) {
  const auto file = std::filesystem::is_directory(path) ? path / "config.json" : path;
  ModelConfig c = from_hf_json(read_json(file), file.string());
  const auto generation = file.parent_path() / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    const json object = read_json(generation);
    if (!object.is_object())
      throw Error(cat(generation.string(), ": is not a JSON object.\n  ", Reader::kDamaged));
    Reader(object, generation.string()).ids("eos_token_id", c.eos_token_ids);
    c.validate(generation.string());
  }
  return c;
}

ModelConfig ModelConfig::from_hf_json(const json& object, const std::string& where) {
  if (!object.is_object()) throw Error(cat(where, ": is not a JSON object.\n  ", Reader::kDamaged));
  const Reader in(object, where);
  ModelConfig c;
  const std::string accepted = cat("a list with one of ", join(supported_architectures(), ", "));
  if (!in.has("architectures") || !in.raw("architectures").is_array() ||
      in.raw("architectures").size() != 1 || !in.raw("architectures")[0].is_string())
    in.fail("architectures", accepted, "It says which model the weights belong to.");
  c.architecture = in.raw("architectures")[0].get<std::string>();
  const auto& supported = supported_architectures();
  if (std::find(supported.begin(), supported.end(), c.architecture) == supported.end())
    throw Error(cat(where, ": architectures is ", c.architecture, "; accepted: ", join(supported, ", "),
                    ".\n  Other architectures are not supported."));
  const bool llama = c.architecture == "LlamaForCausalLM", mistral = c.architecture == "MistralForCausalLM";
  const bool qwen2 = c.architecture == "Qwen2ForCausalLM", qwen3 = c.architecture == "Qwen3ForCausalLM";
  if (in.has("quantization_config")) {  // FP8 and MXFP4 blocks are what hf_weights.cpp reads
    const auto& quantization = in.raw("quantization_config");
    const auto method = quantization.is_object() && quantization.contains("quant_method") ? quantization["quant_method"] : nlohmann::json();
    if (method != "fp8" && method != "mxfp4")
      in.fail("quantization_config", "absent, or with quant_method fp8 or mxfp4",
              "Other packed weights are not supported; use the unquantized model or a GGUF file.");
  }
  if (in.string("hidden_act", "silu") != "silu")
    in.fail("hidden_act", "silu", "Other activations are not supported.");

  c.vocab_size = in.integer("vocab_size");
  c.hidden_size = in.integer("hidden_size");
  c.intermediate_size = in.integer("intermediate_size");
  c.num_layers = in.integer("num_hidden_layers");
  c.num_heads = in.integer("num_attention_heads");
  const bool deepseek = is_deepseek(c.architecture);
  if (!deepseek) c.num_kv_heads = llama ? in.integer("num_key_value_heads", c.num_heads) : in.integer("num_key_value_heads");
  if (deepseek) {
    read_deepseek(in, c);
  } else if (in.has("head_dim")) {
    c.head_dim = in.integer("head_dim");
  } else if (qwen3) {
    c.head_dim = 128;  // the class's default in transformers, whatever hidden_size / num_attention_heads is
  } else {
    if (c.num_heads < 1 || c.hidden_size % c.num_heads != 0)
      in.fail("num_attention_heads", cat("a divisor of hidden_size = ", c.hidden_size), "Or add head_dim.");
    c.head_dim = c.hidden_size / c.num_heads;
  }
  c.rms_norm_eps = in.number("rms_norm_eps", 1e-6);
  c.max_positions = in.integer("max_position_embeddings", llama ? 2048 : mistral ? 131072 : 32768);
  read_rope(in, c);
  if (!deepseek) cut_context_at_window(in, c);
  c.tie_embeddings = in.boolean("tie_word_embeddings", false);
  const bool attention_bias = (llama || qwen3) && in.boolean("attention_bias", false);
  c.qkv_bias = qwen2 || attention_bias;
  c.o_bias = attention_bias;
  c.mlp_bias = llama && in.boolean("mlp_bias", false);
  c.qk_norm = qwen3;
  c.bos_token_id = in.integer("bos_token_id", llama || mistral ? 1 : -1);
  if (c.bos_token_id < 0) c.bos_token_id = -1;
  if (llama || mistral) {
    if (!object.contains("eos_token_id")) c.eos_token_ids = {2};
    if (object.contains("bos_token_id") && object["bos_token_id"].is_null()) c.bos_token_id = -1;
  }
  in.ids("eos_token_id", c.eos_token_ids);
  c.initializer_range = in.number("initializer_range", 0.02);
  c.num_nextn_predict_layers = in.integer("num_nextn_predict_layers", 0);
  c.validate(where);
  return c;
}

json ModelConfig::to_hf_json() const {
  const bool llama = architecture == "LlamaForCausalLM", qwen2 = architecture == "Qwen2ForCausalLM";
  const bool qwen3 = architecture == "Qwen3ForCausalLM", mistral = architecture == "MistralForCausalLM";
  const bool deepseek = is_deepseek(architecture);
  json out = {{"architectures", {architecture}},
              {"model_type", llama                                         ? "llama"
                             : qwen2                                       ? "qwen2"
                             : qwen3                                       ? "qwen3"
                             : mistral                                     ? "mistral"
                             : architecture == "DeepseekV2ForCausalLM" ? "deepseek_v2"
                                                                           : "deepseek_v3"},
              {"vocab_size", vocab_size},
              {"hidden_size", hidden_size},
              {"intermediate_size", intermediate_size},
              {"num_hidden_layers", num_layers},
              {"num_attention_heads", num_heads},
              {"num_key_value_heads", num_kv_heads},
              {"head_dim", head_dim},
              {"hidden_act", "silu"},
              {"rms_norm_eps", rms_norm_eps},
              {"rope_theta", rope_theta},
              {"max_position_embeddings", max_positions},
              {"tie_word_embeddings", tie_embeddings},
              {"attention_dropout", 0.0},
              {"initializer_range", initializer_range},
              {"use_cache", true}};
  json scaling = nullptr;
  const auto& s = rope_scaling;
  if (s.kind == RopeScalingKind::kLinear) {
    scaling = {{"rope_type", "linear"}, {"factor", s.factor}};
  } else if (s.kind == RopeScalingKind::kLlama3) {
    scaling = {{"rope_type", "llama3"},
               {"factor", s.factor},
               {"original_max_position_embeddings", s.original_max_position},
               {"low_freq_factor", s.low_freq_factor},
               {"high_freq_factor", s.high_freq_factor}};
  } else if (s.kind == RopeScalingKind::kYarn) {
    scaling = {{"rope_type", "yarn"},
               {"factor", s.factor},
               {"original_max_position_embeddings", s.original_max_position},
               {"beta_fast", s.beta_fast},
               {"beta_slow", s.beta_slow}};
    if (s.attention_factor > 0) scaling["attention_factor"] = s.attention_factor;
    if (s.mscale_all_dim > 0) scaling["mscale_all_dim"] = s.mscale_all_dim;
  }
  out["rope_scaling"] = scaling;
  if (deepseek) write_deepseek(*this, out);
  if (has_mtp()) out["num_nextn_predict_layers"] = num_nextn_predict_layers;
  if (llama || qwen3) out["attention_bias"] = qkv_bias;
  if (llama) out["mlp_bias"] = mlp_bias;
  if (mistral) out["sliding_window"] = nullptr;
  if (qwen2 || qwen3) out["use_sliding_window"] = false;
  if (bos_token_id >= 0)
    out["bos_token_id"] = bos_token_id;
  else
    out["bos_token_id"] = nullptr;
  if (eos_token_ids.empty())
    out["eos_token_id"] = nullptr;
  else if (eos_token_ids.size() == 1)
    out["eos_token_id"] = eos_token_ids[0];
  else
    out["eos_token_id"] = eos_token_ids;
  return out;
}

}  // namespace r1::model
