#pragma once
#include <filesystem>
#include <string>

namespace r1::apps {

/// What `import` and `export` do: reads a model, writes it in another form, prints one line about the result.
/// Throws Error before anything is written for what would fail; the destination is complete or absent.
struct ModelTransfer {
  std::filesystem::path source, target;
  std::filesystem::path tokenizer;  ///< empty: the source's own, if it has one
  std::string dtype = "f32";        ///< f32, f16, bf16, q8_0
  bool force = false;

  void to_folder() const;
  void to_gguf() const;

 private:
  std::filesystem::path tokenizer_path() const;
};

}  // namespace r1::apps
