#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "r1/model/model_config.h"

namespace r1::model {

/// Named weights on disk, under the names and orientations of HF checkpoints, whatever the file format.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;
  virtual std::string path() const = 0;                ///< what errors name
  virtual std::vector<std::string> names() const = 0;  ///< sorted
  /// Throws Error naming path and the nearest name when `name` is not there.
  virtual std::vector<int64_t> shape(const std::string& name) const = 0;
  /// The weight as a new contiguous float32 CPU tensor; F16, BF16 and quantized blocks are converted exactly.
  virtual at::Tensor load(const std::string& name) const = 0;
};

/// `path`: a HF folder (config.json with model.safetensors or model.safetensors.index.json) or a .gguf file.
/// Files are mapped, not read: memory holds what load() returns and nothing else.
/// Throws Error for anything else, naming what was looked for.
std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path);

/// Throws Error naming the tensor and both shapes for the first mismatch, and the missing or unexpected
/// tensors. Ignored: an MTP module where `config` has none and its copies of embedding and head, an lm_head.weight
/// beside tied embeddings, rotary_emb.inv_freq buffers of old checkpoints.
void check_weights(const WeightSource& source, const ModelConfig& config);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

enum class HfDtype { kF32, kF16, kBF16 };

/// Writes config.json and model.safetensors (or shards of at most `max_shard_bytes` with an index) into
/// `dir`, which is created. Tensors are converted one at a time. A tied lm_head.weight is left out; an MTP
/// module gets its copies of embedding and head, as DeepSeek's own folders have them. Throws Error naming
/// path and reason, and when the tensors are not those of `config`.
void write_hf_directory(const std::filesystem::path& dir, const ModelConfig& config,
                        const NamedTensors& tensors, HfDtype dtype,
                        uint64_t max_shard_bytes = uint64_t{5} << 30);

enum class GgufDtype { kF32, kF16, kQ8_0 };

/// What llama.cpp needs of a tokenizer; the caller, who knows the tokenizer, fills it in.
struct GgufTokenizer {
  std::string model;  ///< tokenizer.ggml.model: "gpt2" (byte-level BPE) or "llama" (SentencePiece)
  std::string pre;    ///< tokenizer.ggml.pre: "smollm", "qwen2", "llama-bpe"; "" leaves it out
  std::vector<std::string> tokens;   ///< by id
  std::vector<int32_t> token_types;  ///< 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<float> scores;         ///< SentencePiece only
  std::vector<std::string> merges;   ///< "a b" in order of rank
  int64_t bos_id = -1, eos_id = -1, unknown_id = -1, padding_id = -1;  ///< -1 leaves it out
  bool add_bos = false;
  std::string chat_template;  ///< "" leaves it out
};

/// Writes one GGUF v3 file that llama.cpp loads. Norms and biases stay F32; with kQ8_0 a matrix whose rows
/// are not a multiple of 32 stays F16. Rows of q_proj and k_proj are permuted as llama.cpp expects for the
/// llama architecture. An MTP module is left out: llama.cpp has none for these architectures. Throws Error
/// naming path and reason, and when the tensors or the vocabulary are not those of `config`.
void write_gguf(const std::filesystem::path& file, const ModelConfig& config, const NamedTensors& tensors,
                GgufDtype dtype, const GgufTokenizer& tokenizer);

}  // namespace r1::model
