#include "sandbox_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>

#include "sandbox_init.h"
#include "sandbox_tree.h"

namespace r1::sandbox {
namespace {

constexpr double kTickSeconds = 0.02, kKillSeconds = 5;
constexpr size_t kTailBytes = 4096, kPipeBytes = 1 << 16;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Pipe {
  int inside = -1, outside = -1;  ///< the sandbox's end and ours, which never blocks
  bool make(bool into_sandbox) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    inside = ends[into_sandbox ? 0 : 1];
    outside = ends[into_sandbox ? 1 : 0];
    return fcntl(outside, F_SETFL, O_NONBLOCK) == 0;
  }
  void close_inside() { close_one(inside); }
  void close_outside() { close_one(outside); }
  ~Pipe() {
    close_inside();
    close_outside();
  }

 private:
  static void close_one(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }
};

class Watch {
 public:
  Watch(int client, int control, int proc, pid_t session, SandboxRun run)
      : client_(client), control_(control), proc_(proc), session_(session), run_(std::move(run)) {}

  RunResult run() {
    RunResult result;
    if (!start()) {
      result.error = std::string("starting a run: ") + std::strerror(errno);
      return result;
    }
    while (!status_ && result.error.empty()) {
      step();
      if (now() > killed_ + kKillSeconds) result.error = "the first process of the sandbox does not answer";
      if (lost_) result.error = "the first process of the sandbox died";
    }
    drain(out_, out);
    drain(err_, err);
    result.result = verdict();
    return result;
  }

 private:
  bool start() {
    if (!in_.make(true) || !out_.make(false) || !err_.make(false) || !secret_.make(true)) return false;
    const auto& secret = run_.secret;
    if (secret.size() > kPipeBytes) fcntl(secret_.outside, F_SETPIPE_SZ, int(secret.size()));
    if (write(secret_.outside, secret.data(), secret.size()) != ssize_t(secret.size())) return false;
    secret_.close_outside();
    Writer message;
    message.bytes += kRun;
    message.texts(run_.argv);
    message.limits(run_.limits);
    message.number(run_.may_fork);
    start_ = now();
    deadline_ = start_ + run_.limits.wall_seconds;
    next_tick_ = start_ + kTickSeconds;
    base_ = tree_use(proc_, session_).cpu_seconds;
    const bool sent =
        send_with_fds(control_, message.bytes, {in_.inside, out_.inside, err_.inside, secret_.inside});
    for (Pipe* pipe : {&in_, &out_, &err_, &secret_}) pipe->close_inside();
    return sent;
  }

  void step() {
    feed();
    const double until =
        std::min({next_tick_, killed_ + kKillSeconds, stop_ ? killed_ + kKillSeconds : deadline_});
    const int wait_ms = std::clamp(int((until - now()) * 1000) + 1, 0, 1000);
    // poll skips negative descriptors: an end that was closed.
    pollfd fds[] = {{control_, POLLIN, 0},
                    {client_, POLLRDHUP, 0},
                    {out_.outside, POLLIN, 0},
                    {err_.outside, POLLIN, 0},
                    {in_.outside, POLLOUT, 0}};
    poll(fds, 5, wait_ms);
    if (fds[1].revents != 0) leave();
    if (fds[2].revents != 0) drain(out_, out);
    if (fds[3].revents != 0) drain(err_, err);
    if (fds[0].revents != 0) hear();
    if (!status_ && now() >= next_tick_) tick();
    if (!status_ && now() >= deadline_) stop(SandboxStop::kWallLimit);
  }

  /// The client is gone: nobody wants the answer.
  [[noreturn]] void leave() {
    close(control_);  // the first process ends, and all others with it
    ends_within(session_, kKillSeconds);
    kill(session_, SIGKILL);
    _exit(0);
  }

  void feed() {
    while (in_.outside >= 0) {
      if (fed_ == run_.input.size()) return in_.close_outside();
      const ssize_t written = write(in_.outside, run_.input.data() + fed_, run_.input.size() - fed_);
      if (written < 0 && errno == EAGAIN) return;
      if (written <= 0) return in_.close_outside();  // nobody reads
      fed_ += size_t(written);
    }
  }

  void drain(Pipe& pipe, std::string& text) {
    static char buffer[1 << 16];
    while (pipe.outside >= 0) {
      const ssize_t got = read(pipe.outside, buffer, sizeof buffer);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (got <= 0) return pipe.close_outside();
      output_ += got;
      if (output_ > run_.limits.output_bytes) {
        stop(SandboxStop::kOutputLimit);
        return pipe.close_outside();  // what still comes out meets a broken pipe
      }
      text.append(buffer, size_t(got));
      if (&text == &err && text.size() > 16 * kTailBytes) text.erase(0, text.size() - kTailBytes);
    }
  }

  void hear() {
    Status status;
    const ssize_t got = recv(control_, &status, sizeof status, MSG_DONTWAIT);
    if (got == sizeof status) {
      status_ = status;
      end_ = now();
    } else {
      lost_ = true;
    }
  }

  void tick() {
    next_tick_ = now() + kTickSeconds;
    const TreeUse use = tree_use(proc_, session_);
    peak_ = std::max(peak_, use.memory_bytes);
    cpu_ = std::max(cpu_, use.cpu_seconds - base_);
    if (use.memory_bytes > run_.limits.memory_bytes) stop(SandboxStop::kMemoryLimit);
    if (cpu_ > run_.limits.cpu_seconds) stop(SandboxStop::kCpuLimit);
    // RLIMIT_NPROC counts this better; here for kernels and modes in which it does not. 8: our own processes.
    if (use.processes > run_.limits.processes + 8) stop(SandboxStop::kProcessLimit);
  }

  void stop(SandboxStop reason) {
    if (stop_) return;
    stop_ = reason;
    killed_ = now();
    send(control_, &kKill, 1, MSG_NOSIGNAL);
  }

  SandboxResult verdict() {
    SandboxResult result;
    if (err.size() > kTailBytes) err.erase(0, err.size() - kTailBytes);
    result.out = std::move(out);
    result.err = std::move(err);
    result.wall_seconds = end_ - start_;
    const Status status = status_.value_or(Status{});
    result.cpu_seconds = std::max(status.cpu_seconds, cpu_);
    result.peak_memory_bytes = std::max(status.peak_memory_bytes, peak_);
    if (stop_) {
      result.stop = *stop_;
    } else if (WIFEXITED(status.status)) {
      result.exit_code = WEXITSTATUS(status.status);
    } else {
      result.signal = WTERMSIG(status.status);
      result.stop = result.signal == SIGXCPU   ? SandboxStop::kCpuLimit
                    : result.signal == SIGXFSZ ? SandboxStop::kFileLimit
                                               : SandboxStop::kSignal;
    }
    return result;
  }

  int client_, control_, proc_;
  pid_t session_;
  SandboxRun run_;
  Pipe in_, out_, err_, secret_;
  std::string out, err;
  size_t fed_ = 0;
  int64_t output_ = 0, peak_ = 0;
  double start_ = 0, end_ = 0, deadline_ = 0, next_tick_ = 0, base_ = 0, cpu_ = 0;
  double killed_ = 1e300;  ///< when the run was told to end
  std::optional<SandboxStop> stop_;
  std::optional<Status> status_;
  bool lost_ = false;
};

}  // namespace

RunResult watch_run(int client, int control, int proc, pid_t session, std::string_view run) {
  return Watch(client, control, proc, session, decode_run(run)).run();
}

}  // namespace r1::sandbox
