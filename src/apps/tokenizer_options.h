#pragma once
#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "r1/tokenizer/tokenizer.h"

namespace r1::apps {

/// Where a tokenizer comes from: --tokenizer, with --pretokenizer and --special for lists of tiktoken ranks.
struct TokenizerOptions {
  std::filesystem::path path;
  std::string pretokenizer;
  std::vector<std::string> special;

  void add_to(CLI::App& command);
  Tokenizer load() const;
};

}  // namespace r1::apps
