#pragma once
#include <stdexcept>
#include <string>

namespace r1::emulator {

/// What a kernel did wrong: which kind, who (block and thread), where (file:line of the source).
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Source line of a call, taken where a device function is called.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
  friend bool operator==(const Site& a, const Site& b) { return a.line == b.line && a.file == b.file; }
};
std::string describe(const Site& site);

/// "file.cu:41 in kernel<...>" of an instruction of this program, by addr2line; its offset where that tool is
/// missing.
std::string describe_code(uint32_t image_offset);
uint32_t image_offset(const void* pc);

/// Ends the running thread's fiber and the whole launch with a Fault. Only from inside a kernel.
[[noreturn]] void fail(const std::string& what);

}  // namespace r1::emulator
