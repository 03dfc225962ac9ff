#include "sandbox_init.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace r1::sandbox {
namespace {

constexpr int64_t kMessageBytes = 1 << 17;

const char* const kEnvironment[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                    "HOME=/tmp",
                                    "TMPDIR=/tmp",
                                    "LANG=C.UTF-8",
                                    "PYTHONHASHSEED=0",  // the same program gives the same answer
                                    "PYTHONDONTWRITEBYTECODE=1",
                                    "OMP_NUM_THREADS=1",
                                    "OPENBLAS_NUM_THREADS=1",
                                    nullptr};

void limit(int what, int64_t soft, int64_t hard) {
  const rlimit value = {rlim_t(soft), rlim_t(hard)};
  setrlimit(__rlimit_resource_t(what), &value);
}

void set_limits(const SandboxLimits& limits, bool own_namespaces) {
  const auto cpu = int64_t(std::ceil(limits.cpu_seconds));
  limit(RLIMIT_CPU, cpu, cpu + 1);  // per process; the server watches the sum
  const int64_t address_space = limits.memory_bytes + (int64_t{1} << 30);
  limit(RLIMIT_AS, address_space, address_space);
  limit(RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes);
  limit(RLIMIT_STACK, int64_t{64} << 20, int64_t{64} << 20);
  limit(RLIMIT_NOFILE, 256, 256);
  limit(RLIMIT_CORE, 0, 0);
  limit(RLIMIT_MEMLOCK, 0, 0);
  limit(RLIMIT_MSGQUEUE, 0, 0);
  limit(RLIMIT_SIGPENDING, 1024, 1024);
  // Counted per user and user namespace; without one, all that the user runs would count.
  if (own_namespaces) limit(RLIMIT_NPROC, limits.processes + 2, limits.processes + 2);
}

/// In a fresh child, which leads a process group of its own. The descriptors become 0, 1, 2, ...; all others
/// are closed.
[[noreturn]] void become(const std::vector<std::string>& argv, const std::vector<int>& fds,
                         const SandboxLimits& limits, bool own_namespaces,
                         const std::vector<sock_filter>& filter) {
  std::vector<int> high;
  for (const int fd : fds) high.push_back(fcntl(fd, F_DUPFD, 100));
  for (size_t i = 0; i < high.size(); ++i) dup2(high[i], int(i));
  close_range(unsigned(high.size()), ~0U, 0);
  setsid();
  for (int number = 1; number < NSIG; ++number) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> words;
  for (const auto& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  set_limits(limits, own_namespaces);
  if (!load_filter(filter)) _exit(125);
  execve(words[0], words.data(), const_cast<char**>(kEnvironment));
  dprintf(2, "cannot start %s: %s\n", words[0], strerror(errno));
  _exit(127);
}

class Session {
 public:
  Session(int control, const Open& open, const Filters& filters)
      : control_(control), open_(open), filters_(filters) {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, nullptr);
    children_ = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  }

  [[noreturn]] void serve() {
    for (;;) {
      pollfd fds[] = {{control_, POLLIN, 0}, {children_, POLLIN, 0}, {fork_server_socket_, POLLIN, 0}};
      if (poll(fds, 3, -1) < 0 && errno != EINTR) leave();
      if (fds[2].revents != 0) hear_fork_server();
      if (fds[1].revents != 0) reap();
      if (fds[0].revents != 0) hear_server();
    }
  }

 private:
  [[noreturn]] void leave() {
    kill_all();
    collect(0);  // the kernel would end them anyway, but forget the CPU time they took
    _exit(0);
  }

  /// All processes of the session but this one, or of the run. Hazard: kill(-1) outside a pid namespace would
  /// be the end of everything the user runs.
  void kill_all() {
    if (own_namespaces_) {
      kill(-1, SIGKILL);
    } else if (main_ > 0) {
      if (!ended_) kill(main_, SIGKILL);  // it may not be the leader of its group yet
      kill(-main_, SIGKILL);
    }
  }

  void report(int status, double cpu_seconds, int64_t peak_memory_bytes) {
    running_ = ended_ = false;
    main_ = -1;
    const Status message = {status, cpu_seconds, peak_memory_bytes};
    if (send(control_, &message, sizeof message, MSG_NOSIGNAL) != sizeof message) leave();
  }

  /// Takes the dead; remembers the status of the run's main process. The fork server's death ends a run too.
  void collect(int options) {
    int status = 0;
    rusage use = {};
    for (pid_t pid; (pid = wait4(-1, &status, options, &use)) > 0;) {
      const bool ends_run = running_ && !ended_ && pid == (main_ > 0 ? main_ : fork_server_);
      if (ends_run) {
        ended_ = true;
        main_status_ = status;
        main_use_ = use;
      }
      if (pid == fork_server_) {
        close(fork_server_socket_);
        fork_server_ = fork_server_socket_ = -1;
      }
    }
  }

  void reap() {
    signalfd_siginfo ignored;
    while (read(children_, &ignored, sizeof ignored) > 0) {
    }
    collect(WNOHANG);
    if (!ended_) return;
    kill_all();
    collect(0);
    const auto seconds = [](const timeval& time) {
      return double(time.tv_sec) + 1e-6 * double(time.tv_usec);
    };
    report(main_status_, seconds(main_use_.ru_utime) + seconds(main_use_.ru_stime),
           int64_t(main_use_.ru_maxrss) * 1024);
  }

  void hear_server() {
    std::string bytes;
    std::vector<int> fds;
    if (!receive_with_fds(control_, bytes, fds) || bytes.empty()) leave();
    if (bytes[0] == kKill) {
      if (running_) kill_all();
    } else {
      Reader reader(std::string_view(bytes).substr(1));
      const auto argv = reader.texts();
      const auto limits = reader.limits();
      start(argv, limits, reader.number() != 0, fds);
    }
    for (const int fd : fds) close(fd);
  }

  void start(const std::vector<std::string>& argv, const SandboxLimits& limits, bool may_fork,
             const std::vector<int>& fds) {
    running_ = true;
    main_ = -1;
    if (argv.empty()) {
      if (fork_server_ < 0) start_fork_server();
      if (fork_server_ < 0 || !send_with_fds(fork_server_socket_, "R", fds)) report(EAGAIN << 8, 0, 0);
      return;
    }
    main_ = fork();
    if (main_ == 0)
      become(argv, fds, limits, own_namespaces_,
             own_namespaces_ || may_fork ? filters_.may_fork : filters_.threads_only);
    if (main_ < 0) report(EAGAIN << 8, 0, 0);
  }

  void start_fork_server() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    fork_server_ = fork();
    // Its socket becomes descriptor 4.
    if (fork_server_ == 0)
      become(open_.fork_server, {null, null, null, null, ends[1]}, open_.limits, own_namespaces_,
             filters_.may_fork);
    close(null);
    close(ends[1]);
    fork_server_socket_ = ends[0];
  }

  /// "<wait status> <cpu microseconds> <peak KiB>" of a run that is over. When the process died, reap() says
  /// so.
  void hear_fork_server() {
    char text[128] = {};
    if (recv(fork_server_socket_, text, sizeof text - 1, MSG_DONTWAIT) <= 0) return;
    int status = 0;
    long long microseconds = 0, kibibytes = 0;
    if (!running_ || std::sscanf(text, "%d %lld %lld", &status, &microseconds, &kibibytes) != 3) return;
    report(status, 1e-6 * double(microseconds), kibibytes * 1024);
  }

  const bool own_namespaces_ = getpid() == 1;  // asked here, in process 1 itself, never in a child of it
  int control_;
  const Open& open_;
  const Filters& filters_;
  int children_ = -1;
  bool running_ = false, ended_ = false;
  int main_status_ = 0;
  rusage main_use_ = {};
  pid_t main_ = -1, fork_server_ = -1;
  int fork_server_socket_ = -1;
};

/// Empty, or which file could not be written and why.
std::string write_files(const Open& open) {
  for (size_t i = 0; i < open.names.size(); ++i) {
    const auto failure = [&] { return "writing " + open.names[i] + ": " + std::strerror(errno); };
    const int file = ::open(open.names[i].c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) return failure();
    std::string_view rest = open.contents[i];
    while (!rest.empty()) {
      const ssize_t written = write(file, rest.data(), rest.size());
      if (written <= 0) return failure();
      rest.remove_prefix(size_t(written));
    }
    close(file);
  }
  return "";
}

}  // namespace

bool send_with_fds(int socket, std::string_view bytes, const std::vector<int>& fds) {
  iovec data = {const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char buffer[CMSG_SPACE(4 * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = buffer;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size() * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) == ssize_t(bytes.size());
}

bool receive_with_fds(int socket, std::string& bytes, std::vector<int>& fds) {
  bytes.resize(kMessageBytes);
  iovec data = {bytes.data(), bytes.size()};
  alignas(cmsghdr) char buffer[CMSG_SPACE(4 * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = buffer;
  message.msg_controllen = sizeof buffer;
  const ssize_t size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (size <= 0) return false;
  bytes.resize(size_t(size));
  if (const cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr && head->cmsg_type == SCM_RIGHTS) {
    fds.resize((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(fds.data(), CMSG_DATA(head), fds.size() * sizeof(int));
  }
  return true;
}

void serve_session(int control, const Open& open, const Filters& filters) {
  if (getpid() == 1) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
  } else {
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // the server's death is seen at `control`, in time to kill the run
  }
  prctl(PR_SET_DUMPABLE, 0);
  const std::string error = write_files(open);
  if (!tell_started(control, error) || !error.empty()) _exit(1);
  Session(control, open, filters).serve();
}

bool tell_started(int control, const std::string& error) {
  const std::string text = error.empty() ? "started" : error;
  return send(control, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size());
}

}  // namespace r1::sandbox
