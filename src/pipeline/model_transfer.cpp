#include "r1/pipeline/model_transfer.h"

#include "gguf_tokenizer.h"
#include "r1/pipeline/model_files.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::string wrote(const std::filesystem::path& target, const ModelFiles& files, const std::string& dtype,
                    const std::string& tokenizer) {
  return cat("wrote ", target.string(), ": ", files.config.architecture, ", ",
             human_count(static_cast<double>(files.num_parameters)), " parameters, ", dtype, ", ",
             human_bytes(static_cast<double>(bytes_on_disk(target))), "; ", tokenizer);
}

std::string described(const Tokenizer& tokenizer) {
  return cat("tokenizer ", tokenizer.kind(), ", ", tokenizer.vocab_size(), " tokens");
}

}  // namespace

std::filesystem::path ModelTransfer::tokenizer_path() const {
  if (!tokenizer.empty()) return tokenizer;
  return has_tokenizer(source) ? source : std::filesystem::path();
}

std::string ModelTransfer::to_folder() const {
  if (dtype == "q8_0") {
    throw Error(cat("--type is q8_0 and ", target.string(),
                    " a HF folder; accepted there: f32, f16, bf16.\n  "
                    "A destination that ends in .gguf can be q8_0."));
  }
  check_target(target, force, tokenizer.empty() ? std::vector{source} : std::vector{source, tokenizer});
  const ModelFiles files = read_model_files(source);
  const auto from = tokenizer_path();
  std::string note = "no tokenizer";
  if (from.empty()) {
    log_warning(
        cat(source.string(), " holds no tokenizer, so the folder has none; name one with --tokenizer"));
  } else {
    const Tokenizer loaded = Tokenizer::load(from);
    check_vocabulary(loaded, from, files.config, source);
    note = described(loaded);
  }
  const auto type = dtype == "f16"    ? model::HfDtype::kF16
                    : dtype == "bf16" ? model::HfDtype::kBF16
                                      : model::HfDtype::kF32;
  write_model_folder(target, files, type, from);
  return wrote(target, files, dtype, note);
}

std::string ModelTransfer::to_gguf() const {
  if (dtype == "bf16") {
    throw Error(cat("--type is bf16 and ", target.string(),
                    " a GGUF file; accepted there: f32, f16, q8_0.\n  "
                    "A destination that does not end in .gguf is a HF folder and can be bf16."));
  }
  check_target(target, force, tokenizer.empty() ? std::vector{source} : std::vector{source, tokenizer});
  const auto from = tokenizer_path();
  const ModelFiles files = read_model_files(source);
  if (from.empty()) {
    throw Error(cat(source.string(),
                    " holds no tokenizer (tokenizer.json or characters.json), and a GGUF file needs "
                    "one.\n  Name the model's tokenizer with --tokenizer."));
  }
  const Tokenizer loaded = Tokenizer::load(from);
  check_vocabulary(loaded, from, files.config, source);
  const auto type = dtype == "f16"    ? model::GgufDtype::kF16
                    : dtype == "q8_0" ? model::GgufDtype::kQ8_0
                                      : model::GgufDtype::kF32;
  model::write_gguf(target, files.config, files.tensors, type, gguf_tokenizer(from));
  return wrote(target, files, dtype, described(loaded));
}

}  // namespace r1::pipeline
