#include "r1/pipeline/model_files.h"

#include <torch/torch.h>

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/gguf.h"
#include "r1/util/strings.h"

namespace r1::pipeline {

namespace fs = std::filesystem;

namespace {

// What a HF folder's tokenizer may consist of.
constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json",    "tokenizer_config.json",  "characters.json",     "special_tokens_map.json",
    "added_tokens.json", "generation_config.json", "chat_template.jinja", "vocab.json",
    "merges.txt"};

void copy_tokenizer_files(const fs::path& from, const fs::path& to) {
  for (const char* name : kTokenizerFiles) {
    std::error_code error;
    if (!fs::exists(from / name, error)) continue;
    if (!fs::copy_file(from / name, to / name, error)) {
      throw Error(
          cat((to / name).string(), ": cannot be copied from ", from.string(), ": ", error.message()));
    }
  }
}

bool is_same_or_inside(const fs::path& inner, const fs::path& outer) {
  std::error_code error;
  const auto a = fs::weakly_canonical(inner, error), b = fs::weakly_canonical(outer, error);
  if (a.empty() || b.empty()) return false;  // a path that cannot be followed is told by whoever opens it
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

}  // namespace

model::Transformer load_model(const fs::path& path, at::ScalarType dtype, at::Device device) {
  const torch::NoGradGuard no_grad;
  const auto source = model::open_weights(path);
  model::check_weights(*source, source->config());  // before memory is taken
  model::Transformer model(source->config(), torch::TensorOptions(device).dtype(dtype));
  model->load_weights(*source);
  model->eval();
  return model;
}

ModelFiles read_model_files(const fs::path& path) {
  const auto source = model::open_weights(path);
  ModelFiles files;
  files.config = source->config();
  model::check_weights(*source, files.config);
  for (const auto& spec : model::expected_parameters(files.config)) {
    files.tensors.emplace_back(spec.name, source->load(spec.name));
  }
  files.num_parameters = files.config.num_parameters();
  return files;
}

bool has_tokenizer(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return fs::exists(path / "tokenizer.json", error) || fs::exists(path / "characters.json", error);
  }
  return path.extension() == ".gguf" && GgufFile(path).has("tokenizer.ggml.tokens");
}

void check_vocabulary(const Tokenizer& tokenizer, const fs::path& tokenizer_path,
                      const model::ModelConfig& config, const fs::path& model_path) {
  if (tokenizer.vocab_size() <= config.vocab_size) return;
  throw Error(cat("the tokenizer ", tokenizer_path.string(), " has ", tokenizer.vocab_size(),
                  " tokens, the model ", model_path.string(), " a vocabulary of ", config.vocab_size,
                  "; accepted: 1 to ", config.vocab_size,
                  " tokens.\n  Use the tokenizer that the model was trained with."));
}

void check_target(const fs::path& target, bool force, const std::vector<fs::path>& sources) {
  for (const auto& source : sources) {
    if (is_same_or_inside(target, source) || is_same_or_inside(source, target)) {
      throw Error(cat(target.string(), ": the destination and the source ", source.string(),
                      " overlap; name a destination outside of it."));
    }
  }
  std::error_code error;
  const auto status = fs::symlink_status(target, error);
  if (!fs::exists(status)) return;
  if (!force)
    throw Error(cat(target.string(), " exists; name another destination, or replace it with --force."));
  const bool model_folder = fs::is_directory(status) && fs::exists(target / "config.json", error);
  const bool empty_folder = fs::is_directory(status) && fs::is_empty(target, error);
  const bool gguf = fs::is_regular_file(status) && target.extension() == ".gguf";
  if (!model_folder && !empty_folder && !gguf) {
    throw Error(cat(target.string(),
                    " is neither a model folder (with config.json) nor a .gguf file, so --force does "
                    "not replace it; name another destination or remove it yourself."));
  }
}

void write_model_folder(const fs::path& target, const ModelFiles& files, model::HfDtype dtype,
                        const fs::path& tokenizer_path) {
  AtomicDirectory folder(target);
  model::write_hf_directory(folder.staging(), files.config, files.tensors, dtype);
  std::error_code error;
  if (!tokenizer_path.empty()) {
    if (fs::is_directory(tokenizer_path, error)) {
      copy_tokenizer_files(tokenizer_path, folder.staging());
    } else {
      Tokenizer::load(tokenizer_path).save(folder.staging());
    }
  }
  folder.commit();
}

uint64_t bytes_on_disk(const fs::path& path) {
  if (!fs::is_directory(path)) return fs::file_size(path);
  uint64_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

}  // namespace r1::pipeline
