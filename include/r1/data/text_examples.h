#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace r1 {

/// One text to train on; the loss counts the completion only. A plain text has an empty prompt.
struct TextExample {
  std::string prompt;
  std::string completion;
};

/// Reads JSONL (also .jsonl.zst) with {"prompt": ..., "completion": ...} or {"text": ...} per line.
/// Throws Error "<file>:<line>: ..." for a missing, non-text or empty field, for both forms in one line, and
/// for a file without lines.
std::vector<TextExample> read_text_examples(const std::filesystem::path& file);

}  // namespace r1
