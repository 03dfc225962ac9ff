#include "support/emulator/fault.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>

extern "C" const char __executable_start;

namespace r1::emulator {
namespace {

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::string describe(const Site& site) { return base_name(site.file) + ":" + std::to_string(site.line); }

uint32_t image_offset(const void* pc) {
  return static_cast<uint32_t>(static_cast<const char*>(pc) - &__executable_start);
}

std::string describe_code(uint32_t offset) {
  std::array<char, 4096> path{};
  if (readlink("/proc/self/exe", path.data(), path.size() - 1) <= 0) return "?";
  // A position-dependent program is linked at its run-time address, another one at 0.
  const auto base = reinterpret_cast<uintptr_t>(&__executable_start);
  const uintptr_t linked_at = base == 0x400000 || base == 0x200000 ? base : 0;
  std::array<char, 4600> command{};
  // One byte back: a return address is behind the call.
  std::snprintf(command.data(), command.size(), "addr2line -i -e '%s' 0x%zx 2>/dev/null", path.data(),
                static_cast<size_t>(linked_at + offset - 1));
  std::string text;
  if (FILE* pipe = popen(command.data(), "r")) {
    std::array<char, 1024> line{};
    // The innermost line first; up to three callers that were inlined around it.
    for (int i = 0; i < 4 && std::fgets(line.data(), line.size(), pipe) != nullptr; ++i) {
      line[std::strcspn(line.data(), "\n")] = '\0';
      const std::string one = base_name(line.data());
      if (one.starts_with("?")) continue;
      text += (text.empty() ? "" : " < ") + one.substr(0, one.find(' '));
    }
    pclose(pipe);
  }
  if (!text.empty()) return text;
  std::snprintf(command.data(), command.size(), "code offset 0x%x (addr2line would name the line)", offset);
  return command.data();
}

}  // namespace r1::emulator
