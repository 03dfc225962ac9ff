#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace r1 {

/// Calls `row(line_number, value)` for each line of a JSONL file (also .jsonl.zst); blank lines are skipped.
/// Throws Error "<file>:<line>: ..." for a line that is not a JSON object, and for a file with no line at all.
void read_jsonl(const std::filesystem::path& file, const std::function<void(int64_t, const nlohmann::json&)>& row);

/// Appends JSON lines, each flushed whole.
class JsonlWriter {
 public:
  explicit JsonlWriter(const std::filesystem::path& file);
  void write(const nlohmann::json& row);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

/// Writes text compressed with zstd, atomically.
void write_zstd(const std::filesystem::path& file, std::string_view text);
std::string read_zstd(const std::filesystem::path& file);

}  // namespace r1
