#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "r1/util/config.h"

namespace r1 {
class GgufFile;
}

namespace r1::model {

/// Which rule stretches the rotary frequencies beyond the pre-training context.
enum class RopeScalingKind { kNone, kLinear, kLlama3, kYarn };

/// Scaling of the rotary frequencies inv_freq[i] = rope_theta^(-2i / head_dim), i = 0 .. head_dim/2 - 1.
///
///   kLinear  inv_freq / factor
///   kLlama3  wavelength = 2 pi / inv_freq; kept below original_max_position / high_freq_factor, divided by
///   factor
///            above original_max_position / low_freq_factor, a linear blend between (Llama 3.1)
///   kYarn    a ramp over i between beta_fast and beta_slow rotations, and cos/sin times attention_factor
///            (arXiv:2309.00071)
struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1.0;                ///< s: new context / original context; 1 or more
  int64_t original_max_position = 0;  ///< tokens of the pre-training context; kLlama3 and kYarn
  double low_freq_factor = 1.0;       ///< kLlama3
  double high_freq_factor = 4.0;      ///< kLlama3
  double beta_fast = 32.0;        ///< kYarn: rotations over the original context above which nothing changes
  double beta_slow = 1.0;         ///< kYarn: rotations below which the frequency is divided by `factor`
  double attention_factor = 0.0;  ///< kYarn: 0 means 0.1 ln(factor) + 1
  double mscale_all_dim = 0.0;  ///< kYarn, DeepSeek: scores times (0.1 mscale_all_dim ln(factor) + 1)^2; 0: times 1
  bool operator==(const RopeScaling&) const = default;
};

/// Shape of a decoder-only transformer of the Llama, Mistral, Qwen2, Qwen3, DeepSeek-V2 or DeepSeek-V3 family. Names are those of
/// HF's config.json except num_layers (num_hidden_layers), num_heads (num_attention_heads), num_kv_heads (num_key_value_heads) and
/// max_positions (max_position_embeddings).
///
/// The `model:` section of a YAML file has the same keys; `rope_scaling:` is a mapping with `kind`.
struct ModelConfig {
  std::string architecture = "LlamaForCausalLM";  ///< HF class name; see supported_architectures()
  int64_t vocab_size = 0;                         ///< V
  int64_t hidden_size = 0;                        ///< C
  int64_t intermediate_size = 0;                  ///< F
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  ///< divides num_heads
  int64_t head_dim = 0;      ///< D, even; not always hidden_size / num_heads (Qwen3)
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  int64_t max_positions = 2048;  ///< tokens of the longest sequence
  bool tie_embeddings = false;   ///< lm_head.weight is model.embed_tokens.weight
  bool qkv_bias = false;         ///< q_proj, k_proj, v_proj have a bias (Qwen2)
  bool o_bias = false;           ///< o_proj has a bias (Llama's attention_bias)
  bool mlp_bias = false;         ///< gate_proj, up_proj, down_proj have a bias (Llama's mlp_bias)
  bool qk_norm = false;          ///< RMS norm of each head of q and k before RoPE (Qwen3)

  // Mixture of experts: the layers from first_k_dense_replace on. Without experts n_routed_experts is 0.
  int64_t n_routed_experts = 0;      ///< E
  int64_t num_experts_per_tok = 0;   ///< K
  int64_t n_shared_experts = 0;      ///< experts that every token meets, as one of their joint width
  int64_t moe_intermediate_size = 0; ///< F of one expert
  int64_t first_k_dense_replace = 0; ///< layers before these have one MLP of intermediate_size
  int64_t n_group = 1;               ///< groups of consecutive experts
  int64_t topk_group = 1;            ///< groups that a token may pick from
  std::string scoring_func = "sigmoid";   ///< or "softmax"
  std::string topk_method = "noaux_tc";   ///< with e_score_correction_bias; or "greedy", "group_limited_greedy"
  bool norm_topk_prob = true;             ///< a token's weights add up to routed_scaling_factor
  double routed_scaling_factor = 1.0;

  // Multi-head latent attention; without it kv_lora_rank is 0. Then num_kv_heads is num_heads and head_dim is qk_rope_head_dim.
  int64_t q_lora_rank = 0;           ///< 0: queries are not compressed
  int64_t kv_lora_rank = 0;          ///< R: the latent that the cache holds
  int64_t qk_nope_head_dim = 0;      ///< of a head's query and key, without position
  int64_t qk_rope_head_dim = 0;      ///< with rotary position; one key of it for all heads
  int64_t v_head_dim = 0;
  bool rope_interleave = true;       ///< rotary pairs are neighbours in the weights

  int64_t num_nextn_predict_layers = 0;  ///< 1: a module that predicts the token after the next (model/mtp.h)

  int64_t bos_token_id = -1;     ///< -1: none
  std::vector<int64_t> eos_token_ids;
  double initializer_range = 0.02;  ///< standard deviation of new weights
  bool operator==(const ModelConfig&) const = default;

  bool has_latent_attention() const { return kv_lora_rank > 0; }
  bool has_mtp() const { return num_nextn_predict_layers > 0; }
  /// Layer num_layers is the MTP module's, whose block is of the last layer's kind.
  bool has_experts(int64_t layer) const {
    return n_routed_experts > 0 && (layer < num_layers ? layer : num_layers - 1) >= first_k_dense_replace;
  }
  int64_t num_expert_layers() const { return n_routed_experts > 0 ? num_layers - first_k_dense_replace : 0; }
  bool has_correction_bias() const { return topk_method == "noaux_tc"; }
  int64_t key_dim() const { return has_latent_attention() ? qk_nope_head_dim + qk_rope_head_dim : head_dim; }
  int64_t value_dim() const { return has_latent_attention() ? v_head_dim : head_dim; }
  /// Numbers of a token that one layer's cache keeps.
  int64_t cache_values() const { return has_latent_attention() ? kv_lora_rank + qk_rope_head_dim : 2 * num_kv_heads * head_dim; }
  /// What scores are multiplied by: 1 / sqrt(key_dim), and YaRN's factor where mscale_all_dim asks for it.
  double attention_scale() const;

  /// `file` is a config.json or the folder that holds one (generation_config.json beside it adds EOS ids).
  /// Throws Error naming the file and key for what is missing, malformed or a feature that is not supported.
  static ModelConfig from_hf(const std::filesystem::path& file);
  /// `where` is what errors name, for example the path.
  static ModelConfig from_hf_json(const nlohmann::json& json, const std::string& where);
  static ModelConfig from_gguf(const GgufFile& file);
  /// The `model:` section; head_dim defaults to hidden_size / num_heads, num_kv_heads to num_heads, qkv_bias
  /// and qk_norm to what the architecture has. vocab_size may be absent (0): the caller sets it from the tokenizer
  /// and then calls validate, which checks the token ids against it.
  static ModelConfig parse(ConfigNode node);

  nlohmann::json to_hf_json() const;  ///< what transformers' AutoConfig reads

  /// Weights, biases and norms; a tied lm_head is counted once. Without the gates' balancing biases and the MTP module, as
  /// published counts have it.
  int64_t num_parameters() const;
  /// The part of them that one token meets: K of the E experts in every layer that has some.
  int64_t num_active_parameters() const;
  /// Of the MTP module alone, without the embedding and the head that it shares.
  int64_t num_mtp_parameters() const;
  int64_t num_active_mtp_parameters() const;
  /// Whether a parameter belongs to the MTP module: "model.layers.<num_layers>....".
  bool is_mtp_parameter(const std::string& name) const;
  /// The same model without its MTP module.
  ModelConfig trunk() const;

  /// Throws Error "<where>: ..." for the first value that no model can have.
  void validate(const std::string& where) const;
};

/// The HF class names that from_hf and the `model:` section accept.
const std::vector<std::string>& supported_architectures();

/// A parameter's HF name and shape.
struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;
  bool trained = true;  ///< false: a gate's balancing bias, which no gradient reaches
};

/// Every parameter of a model of this config in the order embedding, layers, MTP module, final norm, head; linear weights
/// are [out, in]. A tied head is not listed, nor are the MTP module's copies of embedding and head.
std::vector<ParameterSpec> expected_parameters(const ModelConfig& config);

}  // namespace r1::model
