#include "model_config_deepseek.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::model {

bool is_deepseek(const std::string& architecture) {
  return architecture == "DeepseekV2ForCausalLM" || architecture == "DeepseekV3ForCausalLM";
}

void parse_deepseek(const ConfigNode& node, ModelConfig& c) {
  const bool v3 = c.architecture == "DeepseekV3ForCausalLM";
  const auto positive = at_least<int64_t>(1);
  node.require("kv_lora_rank", c.kv_lora_rank, positive, "The width of the latent that the cache holds.");
  node.read("q_lora_rank", c.q_lora_rank, at_least<int64_t>(0));
  node.require("qk_nope_head_dim", c.qk_nope_head_dim, positive);
  node.require("qk_rope_head_dim", c.qk_rope_head_dim, at_least<int64_t>(2));
  c.v_head_dim = c.qk_nope_head_dim;
  node.read("v_head_dim", c.v_head_dim, positive);
  node.read("rope_interleave", c.rope_interleave);
  node.require("n_routed_experts", c.n_routed_experts, positive);
  node.require("num_experts_per_tok", c.num_experts_per_tok, between<int64_t>(1, c.n_routed_experts));
  node.read("n_shared_experts", c.n_shared_experts, at_least<int64_t>(0));
  node.require("moe_intermediate_size", c.moe_intermediate_size, positive);
  node.read("first_k_dense_replace", c.first_k_dense_replace, between<int64_t>(0, c.num_layers));
  node.read("n_group", c.n_group, positive);
  c.topk_group = c.n_group;
  node.read("topk_group", c.topk_group, between<int64_t>(1, c.n_group));
  c.scoring_func = v3 ? "sigmoid" : "softmax";
  c.topk_method = v3 ? "noaux_tc" : c.n_group > 1 ? "group_limited_greedy" : "greedy";
  c.norm_topk_prob = v3;
  node.read("scoring_func", c.scoring_func, one_of({"sigmoid", "softmax"}));
  node.read("topk_method", c.topk_method, one_of({"noaux_tc", "greedy", "group_limited_greedy"}));
  node.read("norm_topk_prob", c.norm_topk_prob);
  node.read("routed_scaling_factor", c.routed_scaling_factor, above(0.0));
}

void validate_deepseek(const ModelConfig& c, const std::string& where) {
  const auto reject = [&](const char* field, const auto& value, const std::string& accepted) {
    throw Error(cat(where, ": ", field, " is ", value, "; accepted: ", accepted, ".\n  No model of the ",
                    c.architecture, " family can have that; correct the value."));
  };
  if (!is_deepseek(c.architecture)) {
    if (c.kv_lora_rank != 0) reject("kv_lora_rank", c.kv_lora_rank, "0");
    if (c.n_routed_experts != 0) reject("n_routed_experts", c.n_routed_experts, "0");
    return;
  }
  const bool v3 = c.architecture == "DeepseekV3ForCausalLM";
  const int64_t limit = int64_t{1} << 31;
  for (const auto& [field, value] : {std::pair<const char*, int64_t>{"kv_lora_rank", c.kv_lora_rank},
                                     {"qk_nope_head_dim", c.qk_nope_head_dim},
                                     {"qk_rope_head_dim", c.qk_rope_head_dim},
                                     {"v_head_dim", c.v_head_dim},
                                     {"n_routed_experts", c.n_routed_experts},
                                     {"num_experts_per_tok", c.num_experts_per_tok},
                                     {"moe_intermediate_size", c.moe_intermediate_size},
                                     {"n_group", c.n_group},
                                     {"topk_group", c.topk_group}})
    if (value < 1 || value > limit) reject(field, value, "1 to 2^31");
  if (c.q_lora_rank < 0 || c.q_lora_rank > limit)
    reject("q_lora_rank", c.q_lora_rank, "0 (not compressed) to 2^31");
  if (c.n_shared_experts < 0 || c.n_shared_experts > limit / c.moe_intermediate_size)
    reject("n_shared_experts", c.n_shared_experts, "0 or more, their joint width up to 2^31");
  if (c.first_k_dense_replace < 0 || c.first_k_dense_replace > c.num_layers)
    reject("first_k_dense_replace", c.first_k_dense_replace, cat("0 to num_layers = ", c.num_layers));
  if (c.n_routed_experts > 1'000'000) reject("n_routed_experts", c.n_routed_experts, "1 to 1,000,000");
  if (c.n_routed_experts % c.n_group != 0)
    reject("n_group", c.n_group, cat("a divisor of n_routed_experts = ", c.n_routed_experts));
  if (c.topk_group > c.n_group) reject("topk_group", c.topk_group, cat("1 to n_group = ", c.n_group));
  const int64_t reachable = c.n_routed_experts / c.n_group * c.topk_group;
  if (c.num_experts_per_tok > reachable)
    reject("num_experts_per_tok", c.num_experts_per_tok,
           cat("1 to ", reachable, ", the experts of topk_group groups"));
  if (c.topk_method == "noaux_tc" && c.topk_group < c.n_group && c.n_routed_experts / c.n_group < 2)
    reject("n_group", c.n_group, "groups of two experts or more, since their two best are added");
  if (v3 && (c.scoring_func != "sigmoid" || c.topk_method != "noaux_tc"))
    reject("scoring_func, topk_method", cat(c.scoring_func, ", ", c.topk_method), "sigmoid, noaux_tc");
  if (!v3 &&
      (c.scoring_func != "softmax" || (c.topk_method != "greedy" && c.topk_method != "group_limited_greedy")))
    reject("scoring_func, topk_method", cat(c.scoring_func, ", ", c.topk_method),
           "softmax with greedy or group_limited_greedy");
  if (!v3 && c.norm_topk_prob) reject("norm_topk_prob", "true", "false");
  if (!v3 && !c.rope_interleave) reject("rope_interleave", "false", "true");
  if (!(c.routed_scaling_factor > 0) || !std::isfinite(c.routed_scaling_factor))
    reject("routed_scaling_factor", c.routed_scaling_factor, "above 0");
  if (c.num_kv_heads != c.num_heads) reject("num_kv_heads", c.num_kv_heads, cat("num_heads = ", c.num_heads));
  if (c.head_dim != c.qk_rope_head_dim)
    reject("head_dim", c.head_dim, cat("qk_rope_head_dim = ", c.qk_rope_head_dim));
  if (c.num_heads > limit / (c.kv_lora_rank + c.qk_nope_head_dim + c.qk_rope_head_dim + c.v_head_dim))
    reject("num_heads", c.num_heads, "num_heads times the widths of a head up to 2^31");
}

void write_deepseek(const ModelConfig& c, nlohmann::json& out) {
  out.erase("head_dim");
  out["n_routed_experts"] = c.n_routed_experts;
  out["num_experts_per_tok"] = c.num_experts_per_tok;
  out["n_shared_experts"] = c.n_shared_experts;
  out["moe_intermediate_size"] = c.moe_intermediate_size;
  out["first_k_dense_replace"] = c.first_k_dense_replace;
  out["moe_layer_freq"] = 1;
  out["n_group"] = c.n_group;
  out["topk_group"] = c.topk_group;
  out["scoring_func"] = c.scoring_func;
  out["topk_method"] = c.topk_method;
  out["norm_topk_prob"] = c.norm_topk_prob;
  out["routed_scaling_factor"] = c.routed_scaling_factor;
  if (c.q_lora_rank > 0)
    out["q_lora_rank"] = c.q_lora_rank;
  else
    out["q_lora_rank"] = nullptr;
  out["kv_lora_rank"] = c.kv_lora_rank;
  out["qk_nope_head_dim"] = c.qk_nope_head_dim;
  out["qk_rope_head_dim"] = c.qk_rope_head_dim;
  out["v_head_dim"] = c.v_head_dim;
  if (c.architecture == "DeepseekV3ForCausalLM") out["rope_interleave"] = c.rope_interleave;
  out["num_nextn_predict_layers"] = c.num_nextn_predict_layers;
  out["attention_bias"] = false;
}

}  // namespace r1::model
