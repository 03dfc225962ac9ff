#pragma once
#include <sys/types.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "r1/reward/sandbox.h"

// Messages between the program, its sandbox servers and the first process of a sandbox: a length, then fields
// in a fixed order. Both ends are one build of one source, so there is no version.
namespace r1::sandbox {

constexpr char kSetup = 'S', kOpen = 'O', kRun = 'R', kClose = 'C', kKill = 'K';

class Writer {
 public:
  std::string bytes;
  void number(int64_t value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void real(double value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(std::string_view value) {
    number(int64_t(value.size()));
    bytes.append(value);
  }
  void texts(const std::vector<std::string>& values) {
    number(int64_t(values.size()));
    for (const auto& value : values) text(value);
  }
  void limits(const SandboxLimits& limits) {
    real(limits.cpu_seconds);
    real(limits.wall_seconds);
    for (const int64_t value :
         {limits.memory_bytes, limits.processes, limits.file_bytes, limits.output_bytes})
      number(value);
  }
};

/// After a field that is not there, everything reads as zero or empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  int64_t number() { return plain<int64_t>(); }
  double real() { return plain<double>(); }
  std::string text() {
    const auto size = size_t(number());
    if (size > rest_.size()) rest_ = {};
    const std::string value(rest_.substr(0, size));
    rest_.remove_prefix(value.size());
    return value;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> values;
    for (int64_t left = number(); left > 0 && !rest_.empty(); --left) values.push_back(text());
    return values;
  }
  SandboxLimits limits() {
    SandboxLimits limits;
    limits.cpu_seconds = real();
    limits.wall_seconds = real();
    for (int64_t* value : {&limits.memory_bytes, &limits.processes, &limits.file_bytes, &limits.output_bytes})
      *value = number();
    return limits;
  }

 private:
  template <typename T>
  T plain() {
    T value = 0;
    if (rest_.size() < sizeof value) rest_ = {};
    if (!rest_.empty()) {
      std::memcpy(&value, rest_.data(), sizeof value);
      rest_.remove_prefix(sizeof value);
    }
    return value;
  }
  std::string_view rest_;
};

/// Over a SOCK_STREAM. False when the other end is gone.
bool send_message(int socket, char kind, std::string_view bytes);
bool receive_message(int socket, char& kind, std::string& bytes);

/// The files and the fork server of SandboxProgram, and the session's limits.
struct Open {
  SandboxLimits limits;
  std::vector<std::string> fork_server;
  std::vector<std::string> names, contents;
};
std::string encode(const Open& open);
Open decode_open(std::string_view bytes);

std::string encode(const SandboxRun& run);
SandboxRun decode_run(std::string_view bytes);

struct RunResult {
  std::string error;  ///< not empty: the session is broken and must be closed
  SandboxResult result;
};
std::string encode(const RunResult& result);
RunResult decode_run_result(std::string_view bytes);

/// True when the child `pid` ends within the time; it is left to be waited for.
bool ends_within(pid_t pid, double seconds);

}  // namespace r1::sandbox
