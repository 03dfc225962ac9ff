#include "r1/reward/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "sandbox_image.h"
#include "sandbox_wire.h"

extern char** environ;

namespace r1 {
namespace {

using namespace sandbox;
constexpr double kAnswerSeconds = 15;  // beyond a run's own limit

/// A file in memory that holds the server's program and that nobody can change.
int make_image() {
  const auto image = server_image();
  constexpr unsigned kExecutable = 0x10;  // MFD_EXEC, Linux 6.3
  int file = memfd_create("r1-sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING | kExecutable);
  if (file < 0) file = memfd_create("r1-sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0 || write(file, image.data(), image.size()) != ssize_t(image.size()) ||
      fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
    throw Error(cat("sandbox: its server's program cannot be kept in memory: ", std::strerror(errno)));
  return file;
}

/// One sandbox server. Its death takes its session along.
class Server {
 public:
  explicit Server(int image) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw Error(cat("sandbox: socketpair: ", std::strerror(errno)));
    socket_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const std::string path = cat("/proc/self/fd/", image);
    char name[] = "r1-sandbox";
    char* const argv[] = {name, nullptr};
    const int error = posix_spawn(&pid_, path.c_str(), &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error == 0) return;
    close(socket_);
    throw Error(cat("sandbox: its server does not start: ", std::strerror(error)));
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    close(socket_);
    if (!ends_within(pid_, 3)) kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  /// Throws Error when there is no answer in time or the server has died.
  std::string ask(char kind, const std::string& bytes, double seconds) {
    std::string answer;
    if (send_message(socket_, kind, bytes)) {
      pollfd fd = {socket_, POLLIN, 0};
      int ready = 0;
      do {
        ready = poll(&fd, 1, int(seconds * 1000));
      } while (ready < 0 && errno == EINTR);
      if (ready > 0 && receive_message(socket_, kind, answer)) return answer;
    }
    broken_ = true;
    throw Error(cat("sandbox: its server (process ", pid_, ") does not answer"));
  }
  bool broken() const { return broken_; }

 private:
  int socket_ = -1;
  pid_t pid_ = -1;
  bool broken_ = false;
};

std::string text_answer(Server& server, char kind, const std::string& bytes) {
  const std::string answer = server.ask(kind, bytes, kAnswerSeconds);
  return Reader(answer).text();
}

}  // namespace

const char* isolation_name(Isolation isolation) {
  constexpr const char* kNames[] = {"namespaces", "bubblewrap", "none"};
  return kNames[int(isolation)];
}

const char* sandbox_stop_name(SandboxStop stop) {
  constexpr const char* kNames[] = {"exited",       "signal",     "cpu limit",    "wall limit",
                                    "memory limit", "file limit", "output limit", "process limit"};
  return kNames[int(stop)];
}

struct Sandbox::Impl {
  SandboxConfig config;
  Isolation isolation = Isolation::kNone;
  int image = -1;
  std::mutex mutex;
  std::vector<std::unique_ptr<Server>> idle;

  ~Impl() {
    idle.clear();
    if (image >= 0) close(image);
  }

  std::unique_ptr<Server> start(Isolation kind) {
    auto server = std::make_unique<Server>(image);
    Writer setup;
    setup.number(int64_t(kind));
    std::vector<std::string> paths;
    for (const auto& path : config.read_only) paths.push_back(path.string());
    setup.texts(paths);
    const std::string error = text_answer(*server, kSetup, setup.bytes);
    if (!error.empty()) throw Error(error);
    return server;
  }

  /// Empty, or why a session of this kind cannot run /bin/true.
  std::string probe(Isolation kind) {
    try {
      auto server = start(kind);
      const std::string error = text_answer(*server, kOpen, encode(Open{}));
      if (!error.empty()) return error;
      SandboxRun run;
      run.argv = {"/bin/true"};
      const auto answer = decode_run_result(server->ask(kRun, encode(run), kAnswerSeconds));
      if (!answer.error.empty()) return answer.error;
      if (answer.result.exit_code != 0 || answer.result.stop != SandboxStop::kExited)
        return cat("/bin/true: ", sandbox_stop_name(answer.result.stop), " ", answer.result.exit_code, " ",
                   answer.result.err);
      server->ask(kClose, "", kAnswerSeconds);
      idle.push_back(std::move(server));
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }

  std::unique_ptr<Server> take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        auto server = std::move(idle.back());
        idle.pop_back();
        return server;
      }
    }
    return start(isolation);
  }
};

Sandbox::Sandbox(SandboxConfig config) : impl_(std::make_unique<Impl>()) {
  impl_->config = std::move(config);
  impl_->image = make_image();
  auto kinds = impl_->config.accept;
  if (impl_->config.unsandboxed) kinds.push_back(Isolation::kNone);
  std::string tried;
  for (const Isolation kind : kinds) {
    const std::string error = impl_->probe(kind);
    if (error.empty()) {
      impl_->isolation = kind;
      return;
    }
    tried += cat("\n  ", isolation_name(kind), ": ", error);
  }
  throw Error(
      cat("sandbox: this machine lets no sandbox be made; accepted: one of these. Tried:", tried,
          "\n  Allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone,"
          "\n  kernel.apparmor_restrict_unprivileged_userns; in a container --privileged or a seccomp profile"
          "\n  that allows unshare and mount), or install bubblewrap. `unsandboxed: true` runs what a model"
          "\n  wrote with this user's rights: only on a machine that holds nothing else."));
}

Sandbox::~Sandbox() = default;

Isolation Sandbox::isolation() const { return impl_->isolation; }

struct SandboxSession::State {
  Sandbox::Impl* sandbox;
  std::unique_ptr<Server> server;
};

SandboxSession Sandbox::open(const SandboxProgram& program) const {
  Open open;
  open.limits = program.limits;
  open.fork_server = program.fork_server;
  for (const auto& [name, bytes] : program.files) {
    open.names.push_back(name);
    open.contents.push_back(bytes);
  }
  auto server = impl_->take();
  const std::string error = text_answer(*server, kOpen, encode(open));
  if (!error.empty()) throw Error(cat("sandbox: a session does not start: ", error));
  return SandboxSession(std::make_unique<SandboxSession::State>(impl_.get(), std::move(server)));
}

SandboxSession::SandboxSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
SandboxSession::SandboxSession(SandboxSession&&) noexcept = default;

SandboxSession::~SandboxSession() {
  if (!state_ || state_->server->broken()) return;
  try {
    state_->server->ask(kClose, "", kAnswerSeconds);
    const std::lock_guard lock(state_->sandbox->mutex);
    state_->sandbox->idle.push_back(std::move(state_->server));
  } catch (const Error&) {
    // The server is gone and its session with it; the next one gets a fresh server.
  }
}

SandboxResult SandboxSession::run(const SandboxRun& run) {
  auto answer =
      decode_run_result(state_->server->ask(kRun, encode(run), run.limits.wall_seconds + kAnswerSeconds));
  if (!answer.error.empty()) throw Error(cat("sandbox: ", answer.error));
  return std::move(answer.result);
}

}  // namespace r1
