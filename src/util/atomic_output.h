#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace r1 {

/// A file that is written in pieces and appears whole or not at all: pieces go to ".<name>.<pid>.partial"
/// beside it, commit() makes them durable and renames. The destructor removes an uncommitted file. Throws
/// Error naming the final path, the reason and the bytes written so far.
class AtomicOutput {
 public:
  explicit AtomicOutput(std::filesystem::path file);
  ~AtomicOutput();
  AtomicOutput(const AtomicOutput&) = delete;
  AtomicOutput& operator=(const AtomicOutput&) = delete;

  void write(std::span<const std::byte> bytes);
  void pad(uint64_t count);  ///< `count` zero bytes
  uint64_t position() const { return position_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* action) const;

  std::filesystem::path file_, partial_;
  int descriptor_ = -1;
  uint64_t position_ = 0;
  bool committed_ = false;
};

}  // namespace r1
