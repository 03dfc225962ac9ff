#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace r1 {

class AtomicOutput;

/// A file of lines, written through a buffer, that appears whole at commit() or not at all; destroyed before
/// that it leaves nothing. Throws Error naming path and reason.
class LineOutput {
 public:
  explicit LineOutput(const std::filesystem::path& file);
  ~LineOutput();
  LineOutput(const LineOutput&) = delete;
  LineOutput& operator=(const LineOutput&) = delete;
  void write(std::string_view line);  ///< a newline is added
  void commit();                      ///< once

 private:
  void flush();
  std::unique_ptr<AtomicOutput> out_;
  std::string buffer_;
};

}  // namespace r1
