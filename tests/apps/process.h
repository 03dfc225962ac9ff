#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

namespace r1::apps::testing_support {

/// How a program ended and what it said.
struct Result {
  int exit_code = -1;  ///< 128 + signal when a signal ended it
  std::string out, err;
  double peak_bytes = 0;  ///< of memory that was resident at a time
};

/// Runs the built `r1` with `arguments`, `input` on its stdin. `stdout_path`: stdout goes there instead of
/// Result::out. `work_dir`: where it starts.
Result run_r1(const std::vector<std::string>& arguments, const std::string& input = "",
              const std::string& stdout_path = "", const std::string& work_dir = "");

/// A running `r1` to talk to, line by line.
class Conversation {
 public:
  explicit Conversation(const std::vector<std::string>& arguments);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  /// Sends a line and returns the answering line, without their line ends; "" when none comes within a
  /// minute.
  std::string ask(const std::string& line);
  int finish();  ///< closes stdin, returns the exit code

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

}  // namespace r1::apps::testing_support
