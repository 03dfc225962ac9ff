#include "r1/reward/sandbox.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "hostile_programs.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr const char* kPython = "/usr/bin/python3";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The sandbox of one kind, or nullptr with the reason where this machine has none.
const Sandbox* sandbox_of(Isolation kind, std::string* reason) {
  struct Made {
    std::unique_ptr<Sandbox> sandbox;
    std::string reason;
  };
  static Made made[3];
  Made& one = made[int(kind)];
  if (!one.sandbox && one.reason.empty()) {
    try {
      SandboxConfig config;
      config.accept = {kind};
      one.sandbox = std::make_unique<Sandbox>(config);
    } catch (const Error& error) {
      one.reason = error.what();
    }
  }
  *reason = one.reason;
  return one.sandbox.get();
}

SandboxLimits small_limits() {
  SandboxLimits limits;
  limits.cpu_seconds = 0.5;
  limits.wall_seconds = 1.5;
  limits.memory_bytes = 200 << 20;
  limits.processes = 12;
  limits.file_bytes = 8 << 20;
  limits.output_bytes = 1 << 20;
  return limits;
}

SandboxProgram python_program(const std::string& source) {
  SandboxProgram program;
  program.limits = small_limits();
  program.files = {{"program.py", source}};
  return program;
}

SandboxRun python_run() {
  SandboxRun run;
  run.argv = {kPython, "program.py"};
  run.limits = small_limits();
  return run;
}

/// Command names of everything below a process whose children belong to its first thread.
std::vector<std::string> processes_below(pid_t root) {
  std::vector<std::string> found;
  const auto children = contents(cat("/proc/", root, "/task/", root, "/children"));
  std::istringstream numbers(children);
  for (pid_t pid; numbers >> pid;) {
    std::string name = contents(cat("/proc/", pid, "/comm"));
    if (!name.empty()) name.pop_back();
    found.push_back(name);
    for (const auto& below : processes_below(pid)) found.push_back(name + "/" + below);
  }
  return found;
}

/// What an attack could leave behind on the machine. Mounts: of this process and of each server.
struct Traces {
  std::string ipc, mounts;
  std::vector<std::string> files, processes;
};

Traces traces() {
  Traces found;
  for (const char* kind : {"shm", "sem", "msg"}) found.ipc += contents(cat("/proc/sysvipc/", kind));
  found.mounts = contents("/proc/self/mountinfo");
  for (const char* folder :
       {"/", "/tmp", "/var/tmp", "/dev/shm", "/usr", "/usr/bin", "/etc", "/run", "/root", "."}) {
    if (access((std::string(folder) + "/r1_hostile_mark").c_str(), F_OK) == 0) found.files.push_back(folder);
  }
  found.processes = processes_below(getpid());
  return found;
}

/// Servers wait for their next session; nothing else may live.
void expect_nothing_left(const Traces& before) {
  const Traces after = traces();
  EXPECT_EQ(after.ipc, before.ipc);
  EXPECT_EQ(after.mounts, before.mounts);
  EXPECT_TRUE(after.files.empty()) << join(after.files, " ");
  for (const auto& process : after.processes) EXPECT_EQ(process, "r1-sandbox");
}

class OnEachIsolation : public testing::TestWithParam<Isolation> {
 protected:
  void SetUp() override {
    ASSERT_EQ(access(kPython, X_OK), 0) << "install python3";
    sandbox_ = sandbox_of(GetParam(), &reason_);
  }
  /// Where the machine does not allow this kind, the refusal is what there is to test.
  bool refused() const {
    if (sandbox_ != nullptr) return false;
    std::printf("  refused here: %s\n", reason_.c_str());
    EXPECT_NE(reason_.find(cat("\n  ", isolation_name(GetParam()), ": ")), std::string::npos) << reason_;
    EXPECT_NE(reason_.find("unsandboxed: true"), std::string::npos) << reason_;
    return true;
  }
  SandboxResult run(const std::string& source, const std::string& input = "") const {
    auto session = sandbox_->open(python_program(source));
    SandboxRun run = python_run();
    run.input = input;
    return session.run(run);
  }
  const Sandbox* sandbox_ = nullptr;
  std::string reason_;
};

std::string name_of(const testing::TestParamInfo<Isolation>& info) { return isolation_name(info.param); }

INSTANTIATE_TEST_SUITE_P(Kinds, OnEachIsolation,
                         testing::Values(Isolation::kNamespaces, Isolation::kBubblewrap), name_of);

TEST_P(OnEachIsolation, RunsAProgram) {
  if (refused()) return;
  const auto result =
      run("import sys; print(sys.stdin.read().upper()); print('e', file=sys.stderr); sys.exit(3)", "abc");
  EXPECT_EQ(result.stop, SandboxStop::kExited) << result.err;
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "ABC\n");
  EXPECT_EQ(result.err, "e\n");
  EXPECT_GT(result.cpu_seconds, 0);
  EXPECT_GE(result.wall_seconds, result.cpu_seconds / 4);
  EXPECT_GT(result.peak_memory_bytes, 1 << 20);
}

TEST_P(OnEachIsolation, LargeInputAndOutputPassThrough) {
  if (refused()) return;
  const std::string input(900'000, 'x');
  EXPECT_EQ(run("import sys; sys.stdout.write(sys.stdin.read())", input).out, input);
  EXPECT_EQ(run("print(1)", input).out, "1\n");  // reads nothing
}

TEST_P(OnEachIsolation, IsNobodyInAnEmptyMachine) {
  if (refused()) return;
  const auto result =
      run("import os, socket\nprint(sorted(os.listdir('/')), os.getcwd(), os.listdir('.'), "
          "socket.gethostname(), os.getuid() != 0)\n"
          "print(sorted(os.environ))");
  EXPECT_NE(result.out.find("/tmp ['program.py'] sandbox True"), std::string::npos)
      << result.out << result.err;
  EXPECT_EQ(result.out.find("root'"), std::string::npos) << result.out;
  EXPECT_EQ(result.out.find("home"), std::string::npos) << result.out;
}

TEST_P(OnEachIsolation, FilesStayWithinASessionAndEndWithIt) {
  if (refused()) return;
  auto program = python_program("import os\nprint(os.path.exists('kept'))\nopen('kept', 'w').close()");
  {
    auto session = sandbox_->open(program);
    EXPECT_EQ(session.run(python_run()).out, "False\n");
    EXPECT_EQ(session.run(python_run()).out, "True\n");
  }
  EXPECT_EQ(sandbox_->open(program).run(python_run()).out, "False\n");
}

TEST_P(OnEachIsolation, ProgramThatDoesNotExistSaysSo) {
  if (refused()) return;
  auto session = sandbox_->open({});
  SandboxRun run;
  run.argv = {"/no/such/program"};
  const auto result = session.run(run);
  EXPECT_EQ(result.exit_code, 127);
  EXPECT_NE(result.err.find("/no/such/program"), std::string::npos);
}

/// Forks up to 60 children that sleep; how many it got. Harmless where no limit holds.
constexpr const char* kForksSome =
    "import os, time\nmade = 0\ntry:\n  for _ in range(60):\n    if os.fork() == 0: time.sleep(1); "
    "os._exit(0)\n    made += 1\n"
    "except OSError: pass\nprint(made)";

/// One attack, within its deadline; afterwards the same session still works.
void attack(const Sandbox& sandbox, const Hostile& hostile) {
  SCOPED_TRACE(hostile.name);
  const double start = now();
  auto session = sandbox.open(python_program(std::string(kHostilePrelude) + hostile.program));
  SandboxRun run = python_run();
  if (std::string_view(hostile.name) == "NeverReadsStdin") run.input.assign(8 << 20, 'x');
  SandboxResult result;
  ASSERT_NO_THROW(result = session.run(run));
  const double seconds = now() - start;
  std::printf("  %-24s %-13s %5.0f ms\n", hostile.name, sandbox_stop_name(result.stop), 1000 * seconds);
  EXPECT_LT(seconds, run.limits.wall_seconds + 1.5);
  EXPECT_EQ(result.out.find("ESCAPED"), std::string::npos) << result.out.substr(0, 2000);
  EXPECT_NE(result.out.find(hostile.says), std::string::npos) << result.out.substr(0, 2000) << result.err;
  EXPECT_TRUE(hostile.ends.empty() || std::count(hostile.ends.begin(), hostile.ends.end(), result.stop) == 1)
      << sandbox_stop_name(result.stop) << " " << result.exit_code << " " << result.signal << "\n"
      << result.out.substr(0, 2000) << result.err;
  run.input.clear();
  run.argv = {kPython, "-c", "print('alive')"};
  EXPECT_EQ(session.run(run).out, "alive\n");
}

TEST_P(OnEachIsolation, CpuTimeIsLimitedWhateverTheClockSays) {
  if (refused()) return;
  for (const char* program :
       {"while True: pass", "import os\nfor _ in range(3): os.fork()\nwhile True: pass"}) {
    auto session = sandbox_->open(python_program(program));
    SandboxRun run = python_run();
    run.limits.wall_seconds = 60;
    const auto result = session.run(run);
    EXPECT_EQ(result.stop, SandboxStop::kCpuLimit);
    EXPECT_GE(result.cpu_seconds, 0.4);
    EXPECT_LT(result.cpu_seconds, 2);
  }
}

TEST_P(OnEachIsolation, HostileProgramsAreContained) {
  if (refused()) return;
  const Traces before = traces();
  const int forks = std::atoi(run(kForksSome).out.c_str());
  ASSERT_LT(forks, small_limits().processes + 2)
      << "no limit of processes: a fork bomb would be the machine's end";
  ASSERT_GT(forks, 0);
  for (const auto& hostile : hostile_programs()) attack(*sandbox_, hostile);
  expect_nothing_left(before);
}

std::vector<pid_t> pids_below(pid_t root) {
  std::vector<pid_t> found;
  std::istringstream numbers(contents(cat("/proc/", root, "/task/", root, "/children")));
  for (pid_t pid; numbers >> pid;) {
    found.push_back(pid);
    for (const pid_t below : pids_below(pid)) found.push_back(below);
  }
  return found;
}

bool all_gone_within(const std::vector<pid_t>& pids, double seconds) {
  for (const double end = now() + seconds; now() < end;
       std::this_thread::sleep_for(std::chrono::milliseconds(10))) {
    const bool gone = std::all_of(pids.begin(), pids.end(), [](pid_t pid) {
      const auto stat = contents(cat("/proc/", pid, "/stat"));
      return stat.empty() || stat.find(") Z ") != std::string::npos;
    });
    if (gone) return true;
  }
  return false;
}

/// A run that ends only when somebody ends it, on a thread.
std::thread endless_run(const Sandbox& sandbox, std::string* error) {
  return std::thread([&sandbox, error] {
    try {
      auto session = sandbox.open(python_program("import os, time\nos.fork()\ntime.sleep(600)"));
      SandboxRun run = python_run();
      run.limits.wall_seconds = 60;
      session.run(run);
    } catch (const Error& thrown) {
      *error = thrown.what();
    }
  });
}

TEST_P(OnEachIsolation, DeathOfTheServerEndsItsSession) {
  if (refused()) return;
  SandboxConfig config;
  config.accept = {GetParam()};
  const auto before = pids_below(getpid());
  const Sandbox sandbox(config);
  std::string error;
  std::thread run = endless_run(sandbox, &error);
  std::vector<pid_t> mine;
  for (const double end = now() + 10; mine.size() < 4 && now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    mine = pids_below(getpid());
    std::erase_if(mine, [&](pid_t pid) { return std::count(before.begin(), before.end(), pid) > 0; });
  }
  ASSERT_GE(mine.size(), 4u) << "server, process 1, and two of Python";
  kill(mine[0], SIGKILL);
  run.join();
  EXPECT_NE(error.find("does not answer"), std::string::npos) << error;
  EXPECT_TRUE(all_gone_within(mine, 3));
  auto session = sandbox.open(python_program("print('next')"));
  EXPECT_EQ(session.run(python_run()).out, "next\n");
}

TEST_P(OnEachIsolation, DeathOfTheProgramEndsItsServers) {
  if (refused()) return;
  const pid_t program = fork();
  if (program == 0) {
    SandboxConfig config;
    config.accept = {GetParam()};
    const Sandbox sandbox(config);
    std::string error;
    endless_run(sandbox, &error).join();
    _exit(0);
  }
  std::vector<pid_t> below;
  for (const double end = now() + 10; below.size() < 4 && now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    below.clear();
    // The server is a child of the thread that opened the session.
    std::error_code ignored;
    for (const auto& task : std::filesystem::directory_iterator(cat("/proc/", program, "/task"), ignored)) {
      std::istringstream numbers(contents(task.path() / "children"));
      for (pid_t pid; numbers >> pid;) {
        below.push_back(pid);
        for (const pid_t deeper : pids_below(pid)) below.push_back(deeper);
      }
    }
  }
  kill(program, SIGKILL);
  waitpid(program, nullptr, 0);
  ASSERT_GE(below.size(), 4u);
  EXPECT_TRUE(all_gone_within(below, 5));
}

TEST(Sandbox, RefusesToRunWithoutIsolationUnlessTold) {
  SandboxConfig config;
  config.accept = {};
  try {
    const Sandbox sandbox(config);
    FAIL() << "a sandbox without isolation";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("unsandboxed: true"), std::string::npos) << error.what();
  }
}

/// Without namespaces the machine's files and names are open, and no run may start a process or call kill():
/// what is left of the list. KillAll is not on it: were the filter broken, it would end whoever runs this
/// test.
TEST(Sandbox, WithoutIsolationLimitsAndCleanUpRemain) {
  ASSERT_EQ(access(kPython, X_OK), 0) << "install python3";
  SandboxConfig config;
  config.accept = {};
  config.unsandboxed = true;
  const Sandbox sandbox(config);
  EXPECT_EQ(sandbox.isolation(), Isolation::kNone);
  const Traces before = traces();
  const auto run = [&](const std::string& source) {
    auto session = sandbox.open(python_program(source));
    return session.run(python_run());
  };
  EXPECT_EQ(run("print('x')").out, "x\n");
  EXPECT_EQ(run("import os\nos.mkdir('r1_hostile_mark')").exit_code, 0);
  ASSERT_EQ(run(kForksSome).out, "0\n") << "processes can be started: a fork bomb would be the machine's end";
  int attacks = 0;
  for (const auto& hostile : hostile_programs()) {
    for (const char* name : {"ForkBomb",
                             "SleepForever",
                             "BusyForever",
                             "BusyIgnoringSignals",

                             "NeverReadsStdin",
                             "MemoryAtOnce",
                             "MemorySlowly",
                             "MemoryInMemfd",
                             "MemoryLocked",
                             "Segfault",
                             "DiskOneFile",
                             "EndlessOutput",
                             "EndlessErrors",
                             "ClosedStdout",
                             "KillParent",
                             "PtraceParent",
                             "PtraceTraceme",
                             "ReadParentMemory",
                             "StealDescriptors",
                             "InheritedDescriptors",
                             "LowerLimitsOfParent",
                             "TcpSocket",
                             "Sockets",
                             "NameLookup",
                             "AbstractSocketByConnect",
                             "OpenEveryDescriptor",
                             "Setuid",
                             "Mounts",
                             "NewNamespaces",
                             "KernelCalls",
                             "IpcLeftBehind",
                             "TerminalInput"}) {
      if (std::string_view(hostile.name) != name) continue;
      attack(sandbox, hostile);
      ++attacks;
    }
  }
  EXPECT_EQ(attacks, 32);
  expect_nothing_left(before);
}

}  // namespace
}  // namespace r1
