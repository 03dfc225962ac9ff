#include "gguf_names.h"

#include <array>
#include <string_view>
#include <utility>

#include "r1/util/strings.h"

namespace r1::model {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;  // GGUF, HF; without ".weight" or ".bias"

constexpr std::array<NamePair, 3> kTopLevel = {
    {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}}};

constexpr std::array<NamePair, 11> kOfLayer = {{{"attn_norm", "input_layernorm"},
                                                {"attn_q", "self_attn.q_proj"},
                                                {"attn_k", "self_attn.k_proj"},
                                                {"attn_v", "self_attn.v_proj"},
                                                {"attn_output", "self_attn.o_proj"},
                                                {"attn_q_norm", "self_attn.q_norm"},
                                                {"attn_k_norm", "self_attn.k_norm"},
                                                {"ffn_norm", "post_attention_layernorm"},
                                                {"ffn_gate", "mlp.gate_proj"},
                                                {"ffn_up", "mlp.up_proj"},
                                                {"ffn_down", "mlp.down_proj"}}};

/// Splits "model.layers.12.x" after `prefix` into "12" and "x"; false unless a canonical number follows.
bool split_layer(std::string_view name, std::string_view prefix, std::string_view& number,
                 std::string_view& rest) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot > 6) return false;
  number = name.substr(0, dot);
  rest = name.substr(dot + 1);
  if (number.size() > 1 && number[0] == '0') return false;
  return number.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string translate(std::string_view name, bool to_hf) {
  std::string_view suffix;
  for (const std::string_view candidate : {std::string_view(".weight"), std::string_view(".bias")})
    if (name.ends_with(candidate)) suffix = candidate;
  if (suffix.empty()) return "";
  name.remove_suffix(suffix.size());
  const std::string_view from = to_hf ? "blk." : "model.layers.", to = to_hf ? "model.layers." : "blk.";
  std::string_view number, rest;
  if (split_layer(name, from, number, rest)) {
    for (const auto& [gguf, hf] : kOfLayer)
      if (rest == (to_hf ? gguf : hf)) return cat(to, number, ".", to_hf ? hf : gguf, suffix);
    return "";
  }
  for (const auto& [gguf, hf] : kTopLevel)
    if (name == (to_hf ? gguf : hf)) return cat(to_hf ? hf : gguf, suffix);
  return "";
}

}  // namespace

std::string gguf_architecture(const std::string& hf_architecture) {
  if (hf_architecture == "Qwen2ForCausalLM") return "qwen2";
  if (hf_architecture == "Qwen3ForCausalLM") return "qwen3";
  return "llama";
}

std::string hf_name_of_gguf(const std::string& name) { return translate(name, true); }
std::string gguf_name_of_hf(const std::string& name) { return translate(name, false); }

int64_t permuted_heads(const ModelConfig& config, const std::string& hf_name) {
  if (gguf_architecture(config.architecture) != "llama") return 0;
  if (hf_name.find(".self_attn.q_proj.") != std::string::npos) return config.num_heads;
  if (hf_name.find(".self_attn.k_proj.") != std::string::npos) return config.num_kv_heads;
  return 0;
}

}  // namespace r1::model
