#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "r1/reward/answer.h"

namespace r1 {

enum class CodeLanguage { kPython, kCpp };

/// What a solution that passes some of its tests is worth.
enum class PartialCredit {
  kAll,       ///< 1 when it passes all, else 0; the first failure ends the check
  kFraction,  ///< passed / all; after the second time-out the tests left count as failed
};

/// The keys of a `code` part beside kind, weight and name.
struct CodeConfig {
  CodeLanguage language = CodeLanguage::kPython;
  double timeout_s = 10;  ///< CPU seconds of one test; twice as long by the clock
  int64_t memory_mb = 512;
  PartialCredit partial_credit = PartialCredit::kAll;
  double tolerance = 0;  ///< of numbers in stdout, absolute or relative; 0: as text
  bool unsandboxed = false;
};

/// What a problem asks of a solution: one of the two.
struct CodeTask {
  struct Pair {
    std::string input, output;
  };
  std::vector<Pair> pairs;           ///< stdin and the stdout expected for it
  std::vector<std::string> asserts;  ///< programs that run after the solution and must end without an error;
                                     ///< in C++ each has a main()
};

/// {"tests": [{"stdin": "3\n", "stdout": "9\n"}, ...]} or {"asserts": "assert f(3) == 9"} or a list of such
/// texts; nothing for anything else, both, or none.
std::optional<CodeTask> code_task(const nlohmann::json& extra);

/// The last closed ``` block of `completion` outside the thinking that is marked as `language` (python, py,
/// python3; cpp, c++, cc, cxx), or the last unmarked one. Linear time, any bytes.
std::optional<std::string> extract_code(std::string_view completion, CodeLanguage language,
                                        bool think_opened = false);

/// Line by line the same words; white space around and between words and empty lines at the end do not count.
/// tolerance t > 0: two words a, e that are finite numbers are the same when |a - e| <= t * max(1, |e|).
bool same_output(std::string_view output, std::string_view expected, double tolerance = 0);

struct CodeResult {
  Verdict verdict = Verdict::kWrong;
  double value = 0;  ///< in [0, 1] by PartialCredit
  int64_t passed = 0, tests = 0;
  std::string detail;  ///< why the first failed test failed: "test 3: cpu limit", the end of stderr
};

/// Runs solutions in a Sandbox. Expected output never enters it; an assert test passes only when it ends by
/// writing a random number that the process can read after the asserts. docs/code_sandbox.md says what a
/// solution can still fake.
class CodeVerifier {
 public:
  /// Finds python3 in PATH or a C++ compiler in /usr/bin. Throws Error when there is none or no sandbox.
  explicit CodeVerifier(CodeConfig config);
  ~CodeVerifier();
  /// kRight, kWrong, kTimedOut (by the first test that fails) or kGoldUnreadable (no test, or an assert that
  /// is no Python). From any thread; threads work side by side.
  CodeResult check(const std::string& code, const CodeTask& task) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
