#pragma once
#include <filesystem>
#include <string>

namespace r1::pipeline {

/// What `import`, `export` and a stage of kind export do: reads a model, writes it in another form, and returns one line
/// about the result.
/// Throws Error before anything is written for what would fail; the destination is complete or absent.
struct ModelTransfer {
  std::filesystem::path source, target;
  std::filesystem::path tokenizer;  ///< empty: the source's own, if it has one
  std::string dtype = "f32";        ///< f32, f16, bf16, q8_0
  bool force = false;

  std::string to_folder() const;
  std::string to_gguf() const;
  /// to_gguf when `target` ends in .gguf, else to_folder.
  std::string run() const { return target.extension() == ".gguf" ? to_gguf() : to_folder(); }

 private:
  std::filesystem::path tokenizer_path() const;
};

}  // namespace r1::pipeline
