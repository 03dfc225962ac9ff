// GGUF metadata -> ModelConfig, and the table of rotary divisors that GGUF keeps as a tensor.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>

#include "gguf_rope.h"
#include "r1/model/model_config.h"
#include "r1/util/error.h"
#include "r1/util/gguf.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

/// GGUF stores 1e-5 as float32, which is 9.99999974738e-06: take the shortest decimal that gives the same
/// float32, so that a model's numbers do not depend on the file format it came in.
double decimal_of(double value) {
  if (static_cast<double>(static_cast<float>(value)) != value) return value;
  char text[64];
  const auto end = std::to_chars(text, text + sizeof(text), static_cast<float>(value)).ptr;
  double decimal = value;
  std::from_chars(text, end, decimal);
  return decimal;
}

const std::map<std::string, std::string>& hf_of_gguf_architecture() {
  static const std::map<std::string, std::string> kNames = {
      {"llama", "LlamaForCausalLM"}, {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}};
  return kNames;
}

/// GGUF keeps Llama 3's scaling as the tensor rope_freqs.weight of divisors alone. All published models have
/// low_freq_factor 1, high_freq_factor 4 and an original context of 8,192; the divisors prove it or we
/// refuse.
RopeScaling llama3_scaling_of(const GgufTensor& divisors, const ModelConfig& c, const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(cat(
        path, ": rope_freqs.weight ", what,
        "; accepted: the divisors of Llama 3's scaling (low_freq_factor 1, high_freq_factor 4, original "
        "context 8192).\n  Convert from the HF directory instead, whose config.json has the parameters."));
  };
  if (divisors.type != GgufType::kF32 || divisors.num_elements() != c.head_dim / 2)
    refuse(cat("is ", gguf_type_name(divisors.type), " with ", divisors.num_elements(),
               " values for a head_dim of ", c.head_dim));
  std::vector<float> found(static_cast<size_t>(divisors.num_elements()));
  std::memcpy(found.data(), divisors.bytes.data(), divisors.bytes.size());
  const float largest = *std::max_element(found.begin(), found.end());
  if (!(largest >= 1) || !std::isfinite(largest)) refuse("has divisors below 1 or not finite");
  RopeScaling s;
  if (largest == 1) return s;
  s.kind = RopeScalingKind::kLlama3;
  s.factor = largest;
  s.original_max_position = 8192;
  const std::vector<float> expected = llama3_divisors(c.head_dim, c.rope_theta, s);
  for (size_t i = 0; i < found.size(); ++i)
    if (!(std::abs(found[i] - expected[i]) <= 1e-4f * expected[i]))
      refuse(cat("has ", found[i], " at place ", i, ", where factor ", s.factor, " gives ", expected[i]));
  return s;
}

RopeScaling read_scaling(const GgufFile& file, const std::string& arch, const ModelConfig& c) {
  const std::string path = file.path().string(), prefix = arch + ".rope.scaling.";
  if (const GgufTensor* divisors = file.find("rope_freqs.weight"))
    return llama3_scaling_of(*divisors, c, path);
  const std::string kind = file.get_string(prefix + "type", "none");
  RopeScaling s;
  if (kind == "none") {
    // Files of 2023 have only this key.
    s.factor = file.get_number(arch + ".rope.scale_linear", 1.0);
    if (s.factor != 1.0) s.kind = RopeScalingKind::kLinear;
    return s;
  }
  if (kind != "linear" && kind != "yarn")
    throw Error(
        cat(path, ": ", prefix, "type is ", kind,
            "; accepted: none, linear, yarn.\n  This scaling of rotary embeddings is not supported."));
  s.kind = kind == "linear" ? RopeScalingKind::kLinear : RopeScalingKind::kYarn;
  s.factor = decimal_of(file.get_number(prefix + "factor"));
  if (s.kind == RopeScalingKind::kLinear) return s;
  s.original_max_position = file.get_int(prefix + "original_context_length", c.max_positions);
  s.beta_fast = file.get_number(prefix + "yarn_beta_fast", 32.0);
  s.beta_slow = file.get_number(prefix + "yarn_beta_slow", 1.0);
  // llama.cpp's attn_factor multiplies 0.1 ln(factor) + 1.
  const double multiplier = file.get_number(prefix + "attn_factor", 1.0);
  if (multiplier != 1.0) s.attention_factor = decimal_of(multiplier) * (0.1 * std::log(s.factor) + 1.0);
  return s;
}

}  // namespace

std::vector<float> llama3_divisors(int64_t head_dim, double rope_theta, const RopeScaling& s) {
  std::vector<float> divisors;
  const double low_wavelength = static_cast<double>(s.original_max_position) / s.low_freq_factor;
  const double high_wavelength = static_cast<double>(s.original_max_position) / s.high_freq_factor;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(rope_theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1;
    if (wavelength > low_wavelength) {
      divisor = s.factor;
    } else if (wavelength >= high_wavelength) {
      const double smooth = (static_cast<double>(s.original_max_position) / wavelength - s.low_freq_factor) /
                            (s.high_freq_factor - s.low_freq_factor);
      divisor = 1 / ((1 - smooth) / s.factor + smooth);
    }
    divisors.push_back(static_cast<float>(divisor));
  }
  return divisors;
}

ModelConfig ModelConfig::from_gguf(const GgufFile& file) {
  const std::string path = file.path().string();
  const std::string arch = file.get_string("general.architecture");
  const auto& names = hf_of_gguf_architecture();
  if (names.count(arch) == 0)
    throw Error(cat(path, ": general.architecture is ", arch,
                    "; accepted: llama, qwen2, qwen3.\n  Other architectures are not supported."));
  const auto key = [&](const char* rest) { return cat(arch, ".", rest); };
  ModelConfig c;
  c.architecture = names.at(arch);
  if (file.get_int(key("expert_count"), 0) > 0)
    throw Error(cat(path, ": ", key("expert_count"), " is ", file.get_int(key("expert_count")),
                    "; accepted: 0 or absent.\n  Mixtures of experts cannot be read from GGUF files."));
  c.hidden_size = file.get_int(key("embedding_length"));
  c.intermediate_size = file.get_int(key("feed_forward_length"));
  c.num_layers = file.get_int(key("block_count"));
  c.num_heads = file.get_int(key("attention.head_count"));
  c.num_kv_heads = file.get_int(key("attention.head_count_kv"), c.num_heads);
  c.max_positions = file.get_int(key("context_length"));
  if (const int64_t window = file.get_int(key("attention.sliding_window"), 0); window > 0)
    c.max_positions =
        std::min(c.max_positions, window);  // up to the window, sliding attention is full attention
  c.rms_norm_eps = decimal_of(file.get_number(key("attention.layer_norm_rms_epsilon")));
  if (c.num_heads < 1 || (!file.has(key("attention.key_length")) && c.hidden_size % c.num_heads != 0))
    throw Error(cat(path, ": ", key("attention.head_count"), " is ", c.num_heads, "; accepted: a divisor of ",
                    key("embedding_length"), " = ", c.hidden_size, ".\n  The file is damaged."));
  c.head_dim = file.get_int(key("attention.key_length"), c.hidden_size / c.num_heads);
  const int64_t value_dim = file.get_int(key("attention.value_length"), c.head_dim);
  const int64_t rotary_dim = file.get_int(key("rope.dimension_count"), c.head_dim);
  if (value_dim != c.head_dim || rotary_dim != c.head_dim)
    throw Error(cat(path, ": heads of ", c.head_dim, " with values of ", value_dim, " and ", rotary_dim,
                    " rotated channels; accepted: all three equal.\n  Other shapes are not supported."));
  c.rope_theta = decimal_of(file.get_number(key("rope.freq_base"), 10000.0));

  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->dims.size() != 2)
    throw Error(cat(path, ": has no tensor token_embd.weight of two dimensions.\n  The file holds no model; ",
                    "convert the model again with a current llama.cpp."));
  c.vocab_size = embedding->dims[1];
  c.tie_embeddings = file.find("output.weight") == nullptr;
  c.qkv_bias = file.find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.find("blk.0.ffn_gate.bias") != nullptr;
  c.qk_norm = file.find("blk.0.attn_q_norm.weight") != nullptr;
  c.bos_token_id = file.get_int("tokenizer.ggml.bos_token_id", -1);
  for (const char* name :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const int64_t id = file.get_int(name, -1);
        id >= 0 && std::find(c.eos_token_ids.begin(), c.eos_token_ids.end(), id) == c.eos_token_ids.end())
      c.eos_token_ids.push_back(id);
  c.validate(path);
  c.rope_scaling = read_scaling(file, arch, c);
  c.validate(path);
  return c;
}

}  // namespace r1::model
