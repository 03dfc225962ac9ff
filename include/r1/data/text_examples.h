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

/// All files *.jsonl and *.jsonl.zst of a folder, in the order of their names. Throws as above, and for a folder that is
/// missing or has none.
std::vector<TextExample> read_text_folder(const std::filesystem::path& folder);

}  // namespace r1
