// The sandbox server: a small program of its own that makes sandboxes for one client, so that the client,
// with its threads and gigabytes, never forks. Embedded into the library by sandbox_image.cpp. Standard input
// is the client's socket.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "sandbox_filter.h"
#include "sandbox_init.h"
#include "sandbox_jail.h"
#include "sandbox_watch.h"

namespace r1::sandbox {
namespace {

// Descriptors of the first process where bubblewrap starts it.
constexpr int kSessionControl = 4, kSessionOpen = 5, kSessionImage = 6;

class Server {
 public:
  explicit Server(int client) : client_(client), proc_(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

  void serve() {
    char kind = 0;
    std::string bytes;
    while (receive_message(client_, kind, bytes)) {
      Writer reply;
      if (kind == kSetup) reply.text(set_up(bytes));
      if (kind == kOpen) reply.text(open(bytes));
      if (kind == kRun) reply.bytes = run(bytes);
      if (kind == kClose) close_session();
      if (!send_message(client_, kind, reply.bytes)) break;
    }
    close_session();
  }

 private:
  std::string set_up(const std::string& bytes) {
    Reader reader(bytes);
    isolation_ = Isolation(reader.number());
    read_only_ = reader.texts();
    if (auto error = build_filters(filters_); !error.empty()) return error;
    if (isolation_ == Isolation::kNamespaces) return enter_jail(read_only_);
    if (isolation_ == Isolation::kBubblewrap) return become_nobody();
    return "";
  }

  std::string open(const std::string& bytes) {
    close_session();
    const Open open = decode_open(bytes);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      return std::string("socketpair: ") + std::strerror(errno);
    control_ = ends[0];
    int error_text = -1;
    if (isolation_ == Isolation::kBubblewrap) {
      error_text = memfd_create("bwrap", MFD_CLOEXEC);
      start_bubblewrap(open, bytes, ends[1], error_text);
    } else if (isolation_ == Isolation::kNamespaces) {
      start_namespaces(open, ends[1]);
    } else {
      start_plain(open, ends[1]);
    }
    const std::string start_error = session_ < 0 ? std::string("clone: ") + std::strerror(errno) : "";
    close(ends[1]);
    char text[512] = {};
    if (start_error.empty() && recv(control_, text, sizeof text - 1, 0) <= 0 && error_text >= 0)
      (void)!pread(error_text, text, sizeof text - 1, 0);
    if (error_text >= 0) close(error_text);
    if (std::string_view(text) == "started") return "";
    close_session();
    if (!start_error.empty()) return start_error;
    return text[0] != '\0' ? text : "the first process of the sandbox ended before it could say why";
  }

  void start_namespaces(const Open& open, int control) {
    const unsigned uid = geteuid(), gid = getegid();
    session_ = pid_t(syscall(SYS_clone, kSessionNamespaces | SIGCHLD, 0, 0, 0, 0));
    if (session_ != 0) return;
    close(client_);
    close(control_);
    const std::string error = enter_session(proc_, uid, gid, open.limits);
    close(proc_);
    if (!error.empty()) {
      tell_started(control, error);
      _exit(1);
    }
    serve_session(control, open, filters_);
  }

  void start_plain(const Open& open, int control) {
    std::error_code ignored;
    folder_ = (std::filesystem::temp_directory_path(ignored) / "r1-sandbox-XXXXXX").string();
    if (mkdtemp(folder_.data()) == nullptr) folder_.clear();
    session_ = fork();
    if (session_ != 0) return;
    close(client_);
    close(control_);
    std::string error =
        folder_.empty() || chdir(folder_.c_str()) != 0 ? "no folder to work in" : drop_privileges();
    if (error.empty()) serve_session(control, open, filters_);
    tell_started(control, error);
    _exit(1);
  }

  void start_bubblewrap(const Open& open, const std::string& bytes, int control, int error_text) {
    const int request = memfd_create("open", MFD_CLOEXEC);
    if (write(request, bytes.data(), bytes.size()) != ssize_t(bytes.size())) return;
    lseek(request, 0, SEEK_SET);
    session_ = fork();
    if (session_ == 0) {
      const int image = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
      const int fds[] = {fcntl(control, F_DUPFD, 100), fcntl(request, F_DUPFD, 100),
                         fcntl(image, F_DUPFD, 100)};
      dup2(error_text, 2);
      for (int i = 0; i < 3; ++i) dup2(fds[i], kSessionControl + i);
      close_range(kSessionImage + 1, ~0U, 0);
      auto command = bubblewrap_command(read_only_, open.limits);
      for (const char* word : {"--perms", "0555", "--ro-bind-data", "6", "/run-session", "--remount-ro", "/",
                               "--", "/run-session", "--session"})
        command.emplace_back(word);
      std::vector<char*> words;
      for (auto& word : command) words.push_back(word.data());
      words.push_back(nullptr);
      execvp("bwrap", words.data());
      dprintf(2, "cannot start bwrap: %s", std::strerror(errno));
      _exit(127);
    }
    close(request);
  }

  std::string run(const std::string& bytes) {
    RunResult result;
    if (control_ < 0) {
      result.error = "the session is not open";
    } else {
      result = watch_run(client_, control_, proc_, session_, bytes);
    }
    if (!result.error.empty()) close_session();
    return encode(result);
  }

  void close_session() {
    if (control_ >= 0) close(control_);
    control_ = -1;
    if (session_ > 0) {
      if (!ends_within(session_, 2.0)) kill(session_, SIGKILL);
      while (waitpid(session_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    session_ = -1;
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
    folder_.clear();
  }

  int client_, proc_;
  Isolation isolation_ = Isolation::kNamespaces;
  std::vector<std::string> read_only_;
  Filters filters_;
  int control_ = -1;
  pid_t session_ = -1;
  std::string folder_;  ///< of Isolation::kNone
};

[[noreturn]] void serve_in_bubblewrap() {
  std::string bytes(size_t(lseek(kSessionOpen, 0, SEEK_END)), '\0'), error;
  if (pread(kSessionOpen, bytes.data(), bytes.size(), 0) != ssize_t(bytes.size()))
    error = "reading the session's files";
  close_range(kSessionOpen, ~0U, 0);
  fcntl(kSessionControl, F_SETFD, FD_CLOEXEC);
  const Open open = decode_open(bytes);
  Filters filters;
  if (error.empty()) error = build_filters(filters);
  limit_names(open.limits);
  if (error.empty()) error = drop_privileges();
  if (error.empty()) serve_session(kSessionControl, open, filters);
  tell_started(kSessionControl, error);
  _exit(1);
}

}  // namespace
}  // namespace r1::sandbox

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--session") r1::sandbox::serve_in_bubblewrap();
  // Ctrl-C is the client's to answer; what it opened without close-on-exec is none of our business.
  setsid();
  prctl(PR_SET_NAME, "r1-sandbox");
  signal(SIGPIPE, SIG_IGN);
  constexpr int client = 3;
  dup3(0, client, O_CLOEXEC);
  close_range(client + 1, ~0U, 0);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  r1::sandbox::Server(client).serve();
}
