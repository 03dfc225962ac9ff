#include "r1/reward/code.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>

#include "code_programs.h"
#include "r1/reward/sandbox.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr size_t kTestBytes = 1 << 19;  // an assert test waits whole in a pipe
constexpr int64_t kTimeOuts = 2;        // after these many the rest counts as failed

std::string random_token() {
  std::array<unsigned char, 16> bytes;
  if (getrandom(bytes.data(), bytes.size(), 0) != ssize_t(bytes.size())) throw Error("code: no random bytes");
  std::string token;
  char digits[3];
  for (const unsigned byte : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", byte);
    token += digits;
  }
  return token;
}

/// The path of an interpreter, the folders that it needs outside /usr, and those of installed packages.
struct Python {
  std::string path;
  std::vector<std::filesystem::path> folders;
  std::vector<std::string> packages;

  /// -S: `site` reads every .pth file, which in one common installation took 50 of 65 ms; the script puts the
  /// packages and exit() back.
  std::vector<std::string> command() const {
    std::vector<std::string> words = {path, "-S", "-c", kPythonForkServer};
    words.insert(words.end(), packages.begin(), packages.end());
    return words;
  }
};

Python find_python() {
  constexpr const char* kAsk =
      "python3 -c 'import sys,os,site; print(sys.executable, sys.prefix, sys.base_prefix, "
      "os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))), *site.getsitepackages(), "
      "sep=\"\\n\")' 2>/dev/null";
  Python python;
  std::vector<std::string> lines;
  if (FILE* pipe = popen(kAsk, "r")) {
    char line[4096];
    while (std::fgets(line, sizeof line, pipe) != nullptr)
      lines.emplace_back(std::string_view(line).substr(0, std::string_view(line).find('\n')));
    pclose(pipe);
  }
  if (lines.size() < 4) throw Error("code: no python3 in PATH; install python3, 3.9 or newer");
  python.path = lines[0];
  python.packages.assign(lines.begin() + 4, lines.end());
  for (size_t i = 1; i < 4; ++i) {
    const bool known = lines[i] == lines[i - 1] || lines[i] == "/usr" || lines[i].starts_with("/usr/");
    if (!known) python.folders.emplace_back(lines[i]);
  }
  return python;
}

std::string find_compiler() {
  for (const char* path : {"/usr/bin/g++", "/usr/bin/c++", "/usr/bin/clang++", "/usr/bin/clang++-19"}) {
    if (std::filesystem::exists(path)) return path;
  }
  throw Error("code: no C++ compiler in /usr/bin; install g++");
}

struct Outcome {
  bool passed = false;
  SandboxResult result;
  std::string compile_error;
};

bool ended_well(const SandboxResult& result) {
  return result.stop == SandboxStop::kExited && result.exit_code == 0;
}

bool timed_out(const SandboxResult& result) {
  return result.stop == SandboxStop::kCpuLimit || result.stop == SandboxStop::kWallLimit;
}

std::string describe(size_t test, const Outcome& outcome) {
  const auto& result = outcome.result;
  if (!outcome.compile_error.empty()) return outcome.compile_error;
  if (ended_well(result)) return cat("test ", test + 1, ": another output");
  return cat("test ", test + 1, ": ", sandbox_stop_name(result.stop), " ",
             result.stop == SandboxStop::kSignal ? result.signal : result.exit_code, "\n", result.err);
}

}  // namespace

struct CodeVerifier::Impl {
  CodeConfig config;
  Python python;
  std::string compiler;
  std::unique_ptr<Sandbox> sandbox;
  std::mutex mutex;
  std::map<std::string, bool> readable;  ///< hash of an assert test: whether it is Python

  bool cpp() const { return config.language == CodeLanguage::kCpp; }

  SandboxLimits limits() const {
    SandboxLimits limits;
    limits.cpu_seconds = config.timeout_s;
    limits.wall_seconds = 2 * config.timeout_s;
    limits.memory_bytes = config.memory_mb * kMiB;
    return limits;
  }

  SandboxLimits compiler_limits() const {
    SandboxLimits limits;
    limits.cpu_seconds = 30;
    limits.wall_seconds = 60;
    limits.memory_bytes = std::max<int64_t>(1024, config.memory_mb) * kMiB;
    limits.file_bytes = 64 * kMiB;
    return limits;
  }

  /// A fork server for all tests of a solution; without isolation each run is a start of its own.
  SandboxSession open_python(const std::string& code) const {
    SandboxProgram program;
    program.limits = limits();
    program.files = {{"solution.py", code}};
    if (sandbox->isolation() != Isolation::kNone) program.fork_server = python.command();
    return sandbox->open(program);
  }

  bool is_python(const std::string& test) {
    const std::string hash = hash_bytes(test);
    {
      const std::lock_guard lock(mutex);
      if (const auto found = readable.find(hash); found != readable.end()) return found->second;
    }
    auto session = sandbox->open({});
    SandboxRun run;
    run.argv = {python.path, "-S", "-c", kPythonSyntaxCheck};
    run.input = test;
    const auto result = session.run(run);
    const bool good = ended_well(result);
    const std::lock_guard lock(mutex);
    readable.emplace(hash, good);
    return good;
  }

  Outcome run_pair(SandboxSession& session, const CodeTask::Pair& pair) const {
    SandboxRun run = solution_run();
    run.input = pair.input;
    Outcome outcome;
    outcome.result = session.run(run);
    const auto& result = outcome.result;
    outcome.passed = ended_well(result) && same_output(result.out, pair.output, config.tolerance);
    return outcome;
  }

  Outcome run_assert(SandboxSession& session, const std::string& test) const {
    SandboxRun run = solution_run();
    const std::string token = random_token();
    char size[9];
    std::snprintf(size, sizeof size, "%08zu", test.size());
    run.secret = cpp() ? token : cat(size, test, token);
    Outcome outcome;
    outcome.result = session.run(run);
    outcome.passed = ended_well(outcome.result) && outcome.result.out.ends_with(token);
    return outcome;
  }

  SandboxRun solution_run() const {
    SandboxRun run;
    run.limits = limits();
    if (cpp()) {
      run.argv = {"./solution"};
    } else if (sandbox->isolation() == Isolation::kNone) {
      run.argv = python.command();
    }
    return run;
  }

  /// Empty, or what the compiler said.
  std::string compile(SandboxSession& session, const std::string& source, bool assert_test) const {
    SandboxRun run;
    // From stdin: no file with the test is left for the solution to read.
    run.argv = {compiler, "-std=c++20", "-O2", "-pipe", "-w", "-x", "c++", "-o", "solution", "-"};
    if (assert_test) run.argv.insert(run.argv.end() - 1, "-Wl,--wrap=__libc_start_main");
    run.input = source;
    run.limits = compiler_limits();
    run.may_fork = true;
    const auto result = session.run(run);
    if (ended_well(result)) return "";
    return cat("does not compile: ", sandbox_stop_name(result.stop), "\n", result.err);
  }

  /// A session in which test number `i` can run, or why there is none.
  std::string open_for(const std::string& code, const CodeTask& task, size_t i,
                       std::optional<SandboxSession>& session) const {
    if (!cpp()) {
      if (!session) session.emplace(open_python(code));
      return "";
    }
    const bool is_assert = !task.asserts.empty();
    if (session && !is_assert) return "";
    session.reset();
    SandboxProgram program;
    program.limits = compiler_limits();
    session.emplace(sandbox->open(program));
    if (!is_assert) return compile(*session, code, false);
    return compile(*session, cat(kCppBeforeSolution, code, kCppBeforeTest, task.asserts[i], kCppAfterTest),
                   true);
  }

  Outcome run_test(const std::string& code, const CodeTask& task, size_t i,
                   std::optional<SandboxSession>& session) const {
    Outcome outcome;
    outcome.compile_error = open_for(code, task, i, session);
    if (!outcome.compile_error.empty()) return outcome;
    try {
      outcome =
          task.asserts.empty() ? run_pair(*session, task.pairs[i]) : run_assert(*session, task.asserts[i]);
    } catch (const Error& error) {
      // A program that breaks its sandbox must not stop the training; a machine that lets none be opened
      // will.
      log_warning(cat(error.what(), "; the solution counts as timed out"));
      session.reset();
      outcome.result.stop = SandboxStop::kWallLimit;
    }
    return outcome;
  }
};

CodeVerifier::CodeVerifier(CodeConfig config) : impl_(std::make_unique<Impl>()) {
  impl_->config = config;
  SandboxConfig sandbox;
  sandbox.unsandboxed = config.unsandboxed;
  if (config.language == CodeLanguage::kPython) {
    impl_->python = find_python();
    sandbox.read_only = impl_->python.folders;
  } else {
    impl_->compiler = find_compiler();
  }
  impl_->sandbox = std::make_unique<Sandbox>(sandbox);
}

CodeVerifier::~CodeVerifier() = default;

CodeResult CodeVerifier::check(const std::string& code, const CodeTask& task) const {
  CodeResult result;
  const size_t tests = task.asserts.empty() ? task.pairs.size() : task.asserts.size();
  const bool too_long = std::any_of(task.asserts.begin(), task.asserts.end(),
                                    [](const auto& test) { return test.size() > kTestBytes; });
  if (tests == 0 || too_long)
    return {Verdict::kGoldUnreadable, 0, 0, 0, tests == 0 ? "no test" : "an assert test over 512 KiB"};
  result.tests = int64_t(tests);
  result.verdict = Verdict::kRight;
  std::optional<SandboxSession> session;
  int64_t time_outs = 0;
  for (size_t i = 0; i < tests && time_outs < kTimeOuts; ++i) {
    const Outcome outcome = impl_->run_test(code, task, i, session);
    if (outcome.passed) {
      ++result.passed;
      continue;
    }
    if (!impl_->cpp() && !task.asserts.empty() && !impl_->is_python(task.asserts[i]))
      return {Verdict::kGoldUnreadable, 0, 0, int64_t(tests), cat("test ", i + 1, " is no Python")};
    time_outs += timed_out(outcome.result) ? 1 : 0;
    if (result.verdict == Verdict::kRight) {
      result.verdict = timed_out(outcome.result) ? Verdict::kTimedOut : Verdict::kWrong;
      result.detail = describe(i, outcome);
    }
    if (impl_->config.partial_credit == PartialCredit::kAll || !outcome.compile_error.empty()) break;
  }
  result.value = result.verdict == Verdict::kRight ? 1.0
                 : impl_->config.partial_credit == PartialCredit::kFraction
                     ? double(result.passed) / double(tests)
                     : 0.0;
  return result;
}

}  // namespace r1
