#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace r1 {

/// What keeps a program apart from the machine.
enum class Isolation {
  kNamespaces,  ///< user, mount, pid, network and ipc namespaces of its own, seccomp, rlimits
  kBubblewrap,  ///< the same through `bwrap`, where the kernel lets only that program make namespaces
  kNone,        ///< rlimits, a stricter seccomp and a folder of its own; it can read what the user can read
};
const char* isolation_name(Isolation isolation);  ///< "namespaces", "bubblewrap", "none"

/// Bounds of one run. All of its processes count together unless it says otherwise.
struct SandboxLimits {
  double cpu_seconds = 10;
  double wall_seconds = 20;
  int64_t memory_bytes = int64_t{512} << 20;  ///< resident; each process has 1 GiB more of address space
  int64_t processes = 16;                     ///< threads count
  int64_t file_bytes = int64_t{16} << 20;     ///< largest file, and size of the only writable file system
  int64_t output_bytes = int64_t{4} << 20;    ///< stdout and stderr
};

enum class SandboxStop {
  kExited,
  kSignal,
  kCpuLimit,
  kWallLimit,
  kMemoryLimit,
  kFileLimit,
  kOutputLimit,
  kProcessLimit,  ///< rarely: most often a program just cannot start the next one
};
const char* sandbox_stop_name(SandboxStop stop);  ///< "exited", "signal", "cpu limit", ...

struct SandboxResult {
  SandboxStop stop = SandboxStop::kExited;
  int exit_code = 0;  ///< of kExited
  int signal = 0;     ///< of kSignal
  std::string out;    ///< stdout, at most output_bytes
  std::string err;    ///< the last 4 KiB of stderr
  double cpu_seconds = 0, wall_seconds = 0;
  int64_t peak_memory_bytes = 0;  ///< of the largest process
};

struct SandboxRun {
  std::vector<std::string> argv;  ///< argv[0] is a path; left empty where the program has a fork server
  std::string input;              ///< stdin
  std::string secret;             ///< waits on descriptor 3, at most 1 MiB less a page
  /// Isolation::kNone: may start processes. For compilers, never for what a model wrote: without a pid
  /// namespace nothing holds a fork bomb.
  bool may_fork = false;
  SandboxLimits limits;
};

/// What a session starts from: files by plain names in the working folder, and the session's own bounds.
struct SandboxProgram {
  std::vector<std::pair<std::string, std::string>> files;  ///< (name, bytes)
  /// Started once inside the session to be forked for each run, when not empty; src/reward/code_programs.h
  /// has the protocol. Not for Isolation::kNone.
  std::vector<std::string> fork_server;
  SandboxLimits limits;  ///< the largest of all runs; of fork_server
};

struct SandboxConfig {
  bool unsandboxed = false;                      ///< accept Isolation::kNone where nothing else works
  std::vector<std::filesystem::path> read_only;  ///< visible beside /usr, /bin, /lib*
  std::vector<Isolation> accept = {Isolation::kNamespaces, Isolation::kBubblewrap};  ///< tried in order
};

/// One program in one fresh sandbox, run several times, one after the other. After each run all of its
/// processes are dead; files stay until the session ends. Belongs to one thread.
class SandboxSession {
 public:
  SandboxSession(SandboxSession&&) noexcept;
  ~SandboxSession();
  /// Returns within limits.wall_seconds and a fraction of a second. Throws Error when the sandbox itself
  /// fails.
  SandboxResult run(const SandboxRun& run);

 private:
  friend class Sandbox;
  struct State;
  explicit SandboxSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Runs programs that nobody trusts. docs/code_sandbox.md has attacks, what stops each, and what does not.
///
/// Sessions are held by small server processes, started on demand and kept, one per session open at the same
/// time; this process is never forked. When it dies, they and all they started die too.
class Sandbox {
 public:
  /// Probes what the kernel allows. Throws Error naming what was tried, what each attempt met, and the
  /// remedy.
  explicit Sandbox(SandboxConfig config = {});
  ~Sandbox();
  /// From any thread; the sandbox outlives its sessions. Throws Error when the session cannot start.
  SandboxSession open(const SandboxProgram& program) const;
  Isolation isolation() const;

 private:
  friend class SandboxSession;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
