#include "r1/model/model_config.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "model_config_deepseek.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

const std::map<std::string, RopeScalingKind>& scaling_kinds() {
  static const std::map<std::string, RopeScalingKind> kKinds = {{"none", RopeScalingKind::kNone},
                                                                {"linear", RopeScalingKind::kLinear},
                                                                {"llama3", RopeScalingKind::kLlama3},
                                                                {"yarn", RopeScalingKind::kYarn}};
  return kKinds;
}

RopeScaling parse_rope_scaling(const ConfigNode& node) {
  RopeScaling s;
  std::string kind = "none";
  node.read("kind", kind, one_of({"none", "linear", "llama3", "yarn"}));
  s.kind = scaling_kinds().at(kind);
  if (s.kind == RopeScalingKind::kNone) return s;
  node.require("factor", s.factor, at_least(1.0), "It is the new context divided by the original one.");
  if (s.kind == RopeScalingKind::kLinear) return s;
  node.require("original_max_position", s.original_max_position, at_least<int64_t>(1),
               "The scaling depends on the context of the pre-training.");
  if (s.kind == RopeScalingKind::kLlama3) {
    node.read("low_freq_factor", s.low_freq_factor, above(0.0));
    node.read("high_freq_factor", s.high_freq_factor, above(s.low_freq_factor));
  } else {
    node.read("beta_fast", s.beta_fast, above(0.0));
    node.read("beta_slow", s.beta_slow, above(0.0));
    node.read("attention_factor", s.attention_factor, at_least(0.0));
    node.read("mscale_all_dim", s.mscale_all_dim, at_least(0.0));
  }
  return s;
}

}  // namespace

const std::vector<std::string>& supported_architectures() {
  static const std::vector<std::string> kNames = {"LlamaForCausalLM", "MistralForCausalLM",
                                                  "Qwen2ForCausalLM", "Qwen3ForCausalLM",
                                                  "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"};
  return kNames;
}

ModelConfig ModelConfig::parse(ConfigNode node) {
  ModelConfig c;
  node.read("architecture", c.architecture, one_of(supported_architectures()));
  node.read("vocab_size", c.vocab_size, at_least<int64_t>(0));
  node.require("hidden_size", c.hidden_size, at_least<int64_t>(1));
  node.require("intermediate_size", c.intermediate_size, at_least<int64_t>(1));
  node.require("num_layers", c.num_layers, at_least<int64_t>(1));
  node.require("num_heads", c.num_heads, at_least<int64_t>(1));
  c.num_kv_heads = c.num_heads;
  const bool deepseek = is_deepseek(c.architecture);
  if (deepseek) parse_deepseek(node, c);
  node.read("num_kv_heads", c.num_kv_heads, at_least<int64_t>(1));
  if (c.num_heads % c.num_kv_heads != 0)
    node.reject("num_kv_heads", cat("a divisor of num_heads = ", c.num_heads),
                "Each key/value head serves the same number of query heads.");
  if (!deepseek && !node.has("head_dim") && c.hidden_size % c.num_heads != 0)
    node.reject("hidden_size", cat("a multiple of num_heads = ", c.num_heads),
                "Or give head_dim, the width of one head, explicitly.");
  c.head_dim = deepseek ? c.qk_rope_head_dim : c.hidden_size / c.num_heads;
  if (!deepseek) node.read("head_dim", c.head_dim, at_least<int64_t>(2));
  if (c.head_dim % 2 != 0 || c.head_dim == 0)
    node.reject(deepseek ? "qk_rope_head_dim" : node.has("head_dim") ? "head_dim" : "hidden_size",
                cat("an even head_dim (here it is ", c.head_dim, ")"),
                "Rotary embeddings turn pairs of channels.");
  node.read("rms_norm_eps", c.rms_norm_eps, above(0.0));
  node.read("rope_theta", c.rope_theta, above(0.0));
  c.rope_scaling = parse_rope_scaling(node.child("rope_scaling"));
  node.read("max_positions", c.max_positions, at_least<int64_t>(1));
  node.read("tie_embeddings", c.tie_embeddings);
  node.read("num_nextn_predict_layers", c.num_nextn_predict_layers, between<int64_t>(0, 1), "One module, of depth 1, can be had.");
  c.qkv_bias = c.architecture == "Qwen2ForCausalLM";
  c.qk_norm = c.architecture == "Qwen3ForCausalLM";
  node.read("qkv_bias", c.qkv_bias);
  node.read("o_bias", c.o_bias);
  node.read("mlp_bias", c.mlp_bias);
  node.read("qk_norm", c.qk_norm);
  node.read("bos_token_id", c.bos_token_id, at_least<int64_t>(-1));
  node.read("eos_token_ids", c.eos_token_ids);
  node.read("initializer_range", c.initializer_range, above(0.0));
  node.reject_unknown_keys();
  if (c.vocab_size > 0) c.validate(node.where("architecture"));
  return c;
}

void ModelConfig::validate(const std::string& where) const {
  const auto reject = [&](const char* field, const auto& value, const std::string& accepted) {
    throw Error(cat(where, ": ", field, " is ", value, "; accepted: ", accepted, ".\n  No model of the ",
                    architecture, " family can have that; correct the value."));
  };
  const auto& names = supported_architectures();
  if (std::find(names.begin(), names.end(), architecture) == names.end())
    throw Error(cat(where, ": architecture is ", architecture, "; accepted: ", join(names, ", "), "."));
  // 2^31 keeps every product of two sizes below 2^62.
  const int64_t limit = int64_t{1} << 31;
  for (const auto& [field, value] : {std::pair<const char*, int64_t>{"vocab_size", vocab_size},
                                     {"hidden_size", hidden_size},
                                     {"intermediate_size", intermediate_size},
                                     {"num_layers", num_layers},
                                     {"num_heads", num_heads},
                                     {"num_kv_heads", num_kv_heads},
                                     {"head_dim", head_dim},
                                     {"max_positions", max_positions}})
    if (value < 1 || value > limit) reject(field, value, "1 to 2^31");
  if (num_layers > 100'000) reject("num_layers", num_layers, "1 to 100,000");
  if (num_heads > limit / head_dim) reject("num_heads", num_heads, cat("num_heads * head_dim up to 2^31"));
  if (num_heads % num_kv_heads != 0)
    reject("num_kv_heads", num_kv_heads, cat("a divisor of num_heads = ", num_heads));
  validate_deepseek(*this, where);
  if (num_nextn_predict_layers < 0 || num_nextn_predict_layers > 1)
    reject("num_nextn_predict_layers", num_nextn_predict_layers, "0 or 1, since one module of depth 1 can be had");
  if (head_dim % 2 != 0) reject("head_dim", head_dim, "an even number, because rotary embeddings turn pairs");
  if (!(rms_norm_eps > 0) || !std::isfinite(rms_norm_eps)) reject("rms_norm_eps", rms_norm_eps, "above 0");
  if (!(rope_theta > 0) || !std::isfinite(rope_theta)) reject("rope_theta", rope_theta, "above 0");
  if (rope_scaling.kind != RopeScalingKind::kNone) {
    const auto& s = rope_scaling;
    if (!(s.factor >= 1) || !std::isfinite(s.factor)) reject("rope_scaling.factor", s.factor, "1 or more");
    if (s.kind != RopeScalingKind::kLinear && s.original_max_position < 1)
      reject("rope_scaling.original_max_position", s.original_max_position, "1 or more");
    if (s.kind == RopeScalingKind::kLlama3 &&
        !(s.low_freq_factor > 0 && s.high_freq_factor > s.low_freq_factor))
      reject("rope_scaling.high_freq_factor", s.high_freq_factor,
             cat("above low_freq_factor = ", s.low_freq_factor, ", which is above 0"));
    if (s.kind == RopeScalingKind::kYarn && !(s.beta_slow > 0 && s.beta_fast >= s.beta_slow))
      reject("rope_scaling.beta_fast", s.beta_fast,
             cat("beta_slow = ", s.beta_slow, " or more, which is above 0"));
    if (!(s.mscale_all_dim >= 0) || !std::isfinite(s.mscale_all_dim))
      reject("rope_scaling.mscale_all_dim", s.mscale_all_dim, "0 or more");
    if (!(s.attention_factor >= 0) || !std::isfinite(s.attention_factor))
      reject("rope_scaling.attention_factor", s.attention_factor, "0 (derived from factor) or more");
  }
  if (bos_token_id < -1 || bos_token_id >= vocab_size)
    reject("bos_token_id", bos_token_id, cat("-1 (none) to vocab_size - 1 = ", vocab_size - 1));
  for (const int64_t id : eos_token_ids)
    if (id < 0 || id >= vocab_size)
      reject("eos_token_ids", id, cat("0 to vocab_size - 1 = ", vocab_size - 1));
}

std::vector<ParameterSpec> expected_parameters(const ModelConfig& c) {
  std::vector<ParameterSpec> specs;
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    specs.push_back({name + ".weight", {out, in}});
    if (bias) specs.push_back({name + ".bias", {out}});
  };
  const auto norm = [&](const std::string& name, int64_t width) {
    specs.push_back({name + ".weight", {width}});
  };
  const int64_t q_width = c.num_heads * c.head_dim, kv_width = c.num_kv_heads * c.head_dim;
  specs.push_back({"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}});
  const auto block = [&](int64_t layer) {
    const std::string prefix = cat("model.layers.", layer, ".");
    norm(prefix + "input_layernorm", c.hidden_size);
    if (c.has_latent_attention()) {
      const int64_t query_width = c.num_heads * c.key_dim();
      if (c.q_lora_rank == 0) {
        linear(prefix + "self_attn.q_proj", query_width, c.hidden_size, false);
      } else {
        linear(prefix + "self_attn.q_a_proj", c.q_lora_rank, c.hidden_size, false);
        norm(prefix + "self_attn.q_a_layernorm", c.q_lora_rank);
        linear(prefix + "self_attn.q_b_proj", query_width, c.q_lora_rank, false);
      }
      linear(prefix + "self_attn.kv_a_proj_with_mqa", c.cache_values(), c.hidden_size, false);
      norm(prefix + "self_attn.kv_a_layernorm", c.kv_lora_rank);
      linear(prefix + "self_attn.kv_b_proj", c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank, false);
      linear(prefix + "self_attn.o_proj", c.hidden_size, c.num_heads * c.v_head_dim, false);
    } else {
      linear(prefix + "self_attn.q_proj", q_width, c.hidden_size, c.qkv_bias);
      linear(prefix + "self_attn.k_proj", kv_width, c.hidden_size, c.qkv_bias);
      linear(prefix + "self_attn.v_proj", kv_width, c.hidden_size, c.qkv_bias);
      linear(prefix + "self_attn.o_proj", c.hidden_size, q_width, c.o_bias);
    }
    if (c.qk_norm) {
      norm(prefix + "self_attn.q_norm", c.head_dim);
      norm(prefix + "self_attn.k_norm", c.head_dim);
    }
    norm(prefix + "post_attention_layernorm", c.hidden_size);
    const auto mlp = [&](const std::string& name, int64_t width) {
      linear(name + ".gate_proj", width, c.hidden_size, c.mlp_bias);
      linear(name + ".up_proj", width, c.hidden_size, c.mlp_bias);
      linear(name + ".down_proj", c.hidden_size, width, c.mlp_bias);
    };
    if (!c.has_experts(layer)) {
      mlp(prefix + "mlp", c.intermediate_size);
      return;
    }
    linear(prefix + "mlp.gate", c.n_routed_experts, c.hidden_size, false);
    if (c.has_correction_bias()) specs.push_back({prefix + "mlp.gate.e_score_correction_bias", {c.n_routed_experts}, false});
    for (int64_t e = 0; e < c.n_routed_experts; ++e) mlp(cat(prefix, "mlp.experts.", e), c.moe_intermediate_size);
    if (c.n_shared_experts > 0) mlp(prefix + "mlp.shared_experts", c.n_shared_experts * c.moe_intermediate_size);
  };
  for (int64_t layer = 0; layer < c.num_layers; ++layer) block(layer);
  if (c.has_mtp()) {
    const std::string prefix = cat("model.layers.", c.num_layers, ".");
    norm(prefix + "enorm", c.hidden_size);
    norm(prefix + "hnorm", c.hidden_size);
    linear(prefix + "eh_proj", c.hidden_size, 2 * c.hidden_size, false);
    block(c.num_layers);
    norm(prefix + "shared_head.norm", c.hidden_size);
  }
  norm("model.norm", c.hidden_size);
  if (!c.tie_embeddings) linear("lm_head", c.vocab_size, c.hidden_size, false);
  return specs;
}

namespace {

int64_t count_trained(const ModelConfig& c, bool of_mtp) {
  int64_t total = 0;
  for (const auto& spec : expected_parameters(c)) {
    if (!spec.trained || c.is_mtp_parameter(spec.name) != of_mtp) continue;
    int64_t elements = 1;
    for (const int64_t size : spec.shape) elements *= size;
    total += elements;
  }
  return total;
}

// Of one layer with experts, the parameters that a token does not meet.
int64_t idle_parameters(const ModelConfig& c) {
  return (c.n_routed_experts - c.num_experts_per_tok) * 3 * c.hidden_size * c.moe_intermediate_size;
}

}  // namespace

int64_t ModelConfig::num_parameters() const { return count_trained(*this, false); }
int64_t ModelConfig::num_active_parameters() const { return num_parameters() - num_expert_layers() * idle_parameters(*this); }

int64_t ModelConfig::num_mtp_parameters() const { return has_mtp() ? count_trained(*this, true) : 0; }
int64_t ModelConfig::num_active_mtp_parameters() const {
  return num_mtp_parameters() - (has_mtp() && has_experts(num_layers) ? idle_parameters(*this) : 0);
}

bool ModelConfig::is_mtp_parameter(const std::string& name) const {
  return has_mtp() && name.starts_with(cat("model.layers.", num_layers, "."));
}

ModelConfig ModelConfig::trunk() const {
  ModelConfig c = *this;
  c.num_nextn_predict_layers = 0;
  return c;
}

double ModelConfig::attention_scale() const {
  const double scale = 1 / std::sqrt(static_cast<double>(key_dim()));
  const auto& s = rope_scaling;
  if (s.kind != RopeScalingKind::kYarn || s.mscale_all_dim == 0 || s.factor <= 1) return scale;
  const double mscale = 0.1 * s.mscale_all_dim * std::log(s.factor) + 1;
  return scale * mscale * mscale;
}

}  // namespace r1::model
