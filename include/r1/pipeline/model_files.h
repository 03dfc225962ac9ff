#pragma once
#include <filesystem>
#include <string>

#include "r1/model/transformer.h"
#include "r1/tokenizer/tokenizer.h"

namespace r1::pipeline {

/// The model of a HF folder (a run's checkpoint is one) or a .gguf file, without gradients: on a CPU in float32 or float64, on a
/// device in bf16.
model::Transformer load_model(const std::filesystem::path& path, at::ScalarType dtype, at::Device device = at::kCPU);

/// A model's weights in float32 with what describes them.
struct ModelFiles {
  model::ModelConfig config;
  model::NamedTensors tensors;
  int64_t num_parameters = 0;
};
ModelFiles read_model_files(const std::filesystem::path& path);

/// Whether `path` brings a tokenizer that Tokenizer::load can look for: a .gguf file with a vocabulary, or a
/// folder with tokenizer.json or characters.json.
bool has_tokenizer(const std::filesystem::path& path);

/// Throws Error naming both when `tokenizer` has ids that the model's embedding lacks.
void check_vocabulary(const Tokenizer& tokenizer, const std::filesystem::path& tokenizer_path,
                      const model::ModelConfig& config, const std::filesystem::path& model_path);

/// Throws Error when `target` exists and `force` is off; with it, unless `target` is a model folder (one with
/// config.json), an empty folder or a .gguf file, so that a slip of the pen removes nothing else. Throws also
/// when `target` is, holds or lies in one of `sources`, which are read while it is written.
void check_target(const std::filesystem::path& target, bool force,
                  const std::vector<std::filesystem::path>& sources);

/// Writes a HF folder: weights, config.json and, if `tokenizer_path` is not empty, tokenizer files that load
/// as the same tokenizer (a folder's own files are copied as they are). Complete or absent.
void write_model_folder(const std::filesystem::path& target, const ModelFiles& files, model::HfDtype dtype,
                        const std::filesystem::path& tokenizer_path);

/// Bytes of a file, or of all files in a folder.
uint64_t bytes_on_disk(const std::filesystem::path& path);

}  // namespace r1::pipeline
