#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace r1 {

/// Calls `row(line_number, value)` for each line of a JSONL file (also .jsonl.zst); blank lines are skipped.
/// Throws Error "<file>:<line>: ..." for a line that is not a JSON object, and for a file with no line at
/// all.
void read_jsonl(const std::filesystem::path& file,
                const std::function<void(int64_t, const nlohmann::json&)>& row);

/// A line of a JSONL file.
struct JsonLine {
  int64_t number = 0;           ///< from 1
  const nlohmann::json& value;  ///< an object
  std::string_view raw;         ///< as it stands in the file, without the newline
  double part = 0;              ///< of the file that was read to here, 0 to 1
};

/// As read_jsonl, with more about each line.
void read_jsonl_lines(const std::filesystem::path& file, const std::function<void(const JsonLine&)>& row);

class Descriptor;

/// Appends JSON lines, each written whole by one call: a reader never sees half a row of a living process.
/// Half a last line, left by a process that was killed, is dropped with a warning when the file is opened.
/// In strings, bytes that are no UTF-8 become U+FFFD; NaN and infinities become null (JSON has neither).
/// Throws Error naming path and reason; after a failed write the file ends with its last whole line.
class JsonlWriter {
 public:
  explicit JsonlWriter(const std::filesystem::path& file);
  ~JsonlWriter();
  JsonlWriter(JsonlWriter&&) noexcept;
  JsonlWriter& operator=(JsonlWriter&&) noexcept;
  void write(const nlohmann::json& row);

 private:
  std::unique_ptr<Descriptor> out_;
};

/// Writes text compressed with zstd and with a checksum, atomically.
/// Throws as write_file_atomic.
void write_zstd(const std::filesystem::path& file, std::string_view text);
/// The text of a zstd file of any number of frames. Throws Error for a damaged or truncated one.
std::string read_zstd(const std::filesystem::path& file);

}  // namespace r1
