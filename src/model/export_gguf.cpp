#include <ATen/ATen.h>

#include <cmath>

#include "export_checks.h"
#include "gguf_names.h"
#include "gguf_rope.h"
#include "r1/model/quantization.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/gguf.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

using Metadata = std::vector<std::pair<std::string, GgufValue>>;

GgufValue count(int64_t value) { return GgufValue::u32(static_cast<uint32_t>(value)); }

Metadata model_metadata(const ModelConfig& c, const std::string& name, GgufDtype dtype) {
  const std::string arch = gguf_architecture(c.architecture);
  Metadata m;
  m.emplace_back("general.architecture", GgufValue::string(arch));
  m.emplace_back("general.name", GgufValue::string(name));
  // llama.cpp's LLAMA_FTYPE numbers
  m.emplace_back("general.file_type", count(dtype == GgufDtype::kF32 ? 0 : dtype == GgufDtype::kF16 ? 1 : 7));
  m.emplace_back("general.quantization_version", count(2));
  const auto add = [&](const char* key, GgufValue value) {
    m.emplace_back(cat(arch, ".", key), std::move(value));
  };
  add("vocab_size", count(c.vocab_size));
  add("context_length", count(c.max_positions));
  add("embedding_length", count(c.hidden_size));
  add("feed_forward_length", count(c.intermediate_size));
  add("block_count", count(c.num_layers));
  add("attention.head_count", count(c.num_heads));
  add("attention.head_count_kv", count(c.num_kv_heads));
  add("attention.key_length", count(c.head_dim));
  add("attention.value_length", count(c.head_dim));
  add("attention.layer_norm_rms_epsilon", GgufValue::f32(static_cast<float>(c.rms_norm_eps)));
  add("rope.dimension_count", count(c.head_dim));
  add("rope.freq_base", GgufValue::f32(static_cast<float>(c.rope_theta)));
  const auto& s = c.rope_scaling;
  if (s.kind == RopeScalingKind::kLinear || s.kind == RopeScalingKind::kYarn) {
    const bool yarn = s.kind == RopeScalingKind::kYarn;
    add("rope.scaling.type", GgufValue::string(yarn ? "yarn" : "linear"));
    add("rope.scaling.factor", GgufValue::f32(static_cast<float>(s.factor)));
    if (yarn) {
      add("rope.scaling.original_context_length", count(s.original_max_position));
      add("rope.scaling.yarn_beta_fast", GgufValue::f32(static_cast<float>(s.beta_fast)));
      add("rope.scaling.yarn_beta_slow", GgufValue::f32(static_cast<float>(s.beta_slow)));
      if (s.attention_factor > 0)  // llama.cpp multiplies it to 0.1 ln(factor) + 1
        add("rope.scaling.attn_factor",
            GgufValue::f32(static_cast<float>(s.attention_factor / (0.1 * std::log(s.factor) + 1.0))));
    }
  }
  return m;
}

void add_tokenizer(Metadata& m, const GgufTokenizer& t, const ModelConfig& config, const std::string& path) {
  const auto vocab = static_cast<size_t>(config.vocab_size);
  if (t.tokens.empty() || t.tokens.size() > vocab)
    throw Error(cat(path, ": the tokenizer has ", t.tokens.size(), " tokens, the model a vocabulary of ",
                    vocab, "; accepted: 1 to ", vocab,
                    " tokens.\n  Use the tokenizer that the model was trained with."));
  if (t.token_types.size() != t.tokens.size() || (!t.scores.empty() && t.scores.size() != t.tokens.size()))
    throw Error(cat(path, ": the tokenizer has ", t.tokens.size(), " tokens, but ", t.token_types.size(),
                    " token types and ", t.scores.size(), " scores"));
  // Embeddings are often padded to a round size; llama.cpp wants a token for every row.
  constexpr int32_t kUnused = 5;
  auto tokens = t.tokens;
  auto types = t.token_types;
  auto scores = t.scores;
  for (size_t id = tokens.size(); id < vocab; ++id) {
    tokens.push_back(cat("[PAD", id, "]"));
    types.push_back(kUnused);
    if (!scores.empty()) scores.push_back(-1000.0f);
  }
  const auto add = [&](const char* key, GgufValue value) {
    m.emplace_back(cat("tokenizer.", key), std::move(value));
  };
  add("ggml.model", GgufValue::string(t.model));
  if (!t.pre.empty()) add("ggml.pre", GgufValue::string(t.pre));
  add("ggml.tokens", GgufValue::strings(tokens));
  add("ggml.token_type", GgufValue::i32s(types));
  if (!scores.empty()) add("ggml.scores", GgufValue::f32s(scores));
  if (!t.merges.empty()) add("ggml.merges", GgufValue::strings(t.merges));
  for (const auto& [key, id] : {std::pair<const char*, int64_t>{"ggml.bos_token_id", t.bos_id},
                                {"ggml.eos_token_id", t.eos_id},
                                {"ggml.unknown_token_id", t.unknown_id},
                                {"ggml.padding_token_id", t.padding_id}}) {
    if (id >= config.vocab_size)
      throw Error(
          cat(path, ": tokenizer.", key, " is ", id, "; accepted: 0 to ", config.vocab_size - 1, "."));
    if (id >= 0) add(key, count(id));
  }
  add("ggml.add_bos_token", GgufValue::boolean(t.add_bos));
  if (!t.chat_template.empty()) add("chat_template", GgufValue::string(t.chat_template));
}

GgufType stored_type(const at::Tensor& tensor, GgufDtype dtype) {
  if (tensor.dim() < 2 || dtype == GgufDtype::kF32)
    return GgufType::kF32;  // llama.cpp adds and scales in float32
  if (dtype == GgufDtype::kQ8_0 && tensor.size(-1) % gguf_block_elements(GgufType::kQ8_0) == 0)
    return GgufType::kQ8_0;
  return GgufType::kF16;
}

at::Tensor permuted_rows(const at::Tensor& tensor, int64_t head_dim) {
  const auto rows = at::empty({tensor.size(0)}, at::kLong);
  for (int64_t row = 0; row < tensor.size(0); ++row)
    rows.data_ptr<int64_t>()[row] = hf_row_of_gguf_row(row, head_dim);
  return tensor.detach().cpu().index_select(0, rows);
}

}  // namespace

void write_gguf(const std::filesystem::path& file, const ModelConfig& whole, const NamedTensors& tensors,
                GgufDtype dtype, const GgufTokenizer& tokenizer) {
  const std::string path = file.string();
  whole.validate(path);
  require_known_class(path, whole);
  NamedTensors ordered = ordered_parameters(path, whole, tensors);
  std::erase_if(ordered, [&](const auto& named) { return whole.is_mtp_parameter(named.first); });
  const ModelConfig config = whole.trunk();
  Metadata metadata = model_metadata(config, file.stem().string(), dtype);
  add_tokenizer(metadata, tokenizer, config, path);

  std::vector<GgufTensor> infos;
  std::vector<float> divisors;
  if (config.rope_scaling.kind == RopeScalingKind::kLlama3) {
    divisors = llama3_divisors(config.head_dim, config.rope_theta, config.rope_scaling);
    infos.push_back({"rope_freqs.weight", GgufType::kF32, {config.head_dim / 2}, {}});
  }
  uint64_t total_bytes = 0;
  for (const auto& [name, tensor] : ordered) {
    const auto shape = tensor.sizes();
    infos.push_back({gguf_name_of_hf(name), stored_type(tensor, dtype), {shape.rbegin(), shape.rend()}, {}});
    total_bytes += infos.back().num_bytes();
  }
  require_free_space(file.parent_path().empty() ? "." : file.parent_path(), total_bytes,
                     cat("the weights of ", path));
  GgufWriter writer(file, metadata, infos);
  if (!divisors.empty()) writer.write(std::as_bytes(std::span(divisors)));
  std::vector<std::byte> blocks;
  for (const auto& [name, tensor] : ordered) {
    const bool permute = permuted_heads(config, name) > 0;
    const at::Tensor source = permute ? permuted_rows(tensor, config.head_dim) : tensor;
    const GgufType type = stored_type(tensor, dtype);
    const at::Tensor values = converted(path, name, source, type == GgufType::kF16 ? at::kHalf : at::kFloat);
    if (type != GgufType::kQ8_0) {
      writer.write({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
      continue;
    }
    const auto numel = static_cast<size_t>(values.numel());
    blocks.resize(numel / 32 * 34);
    try {
      quantize_q8_0({static_cast<const float*>(values.const_data_ptr()), numel}, blocks);
    } catch (const Error& error) {
      throw Error(cat(path, ": tensor '", name, "': ", error.what(), ".\n  Write the file as float32."));
    }
    writer.write(blocks);
  }
  writer.close();
}

}  // namespace r1::model
