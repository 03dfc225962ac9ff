#include "supervise.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <sstream>
#include <system_error>
#include <thread>

#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "r1/util/stop_signal.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

constexpr double kPause_s = 2;  // before another try: the lost ranks' ports and files are free then

pid_t start(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw Error(cat("--launch: no process can be started: ", std::generic_category().message(errno)));
  if (pid == 0) {
    ::setpgid(0, 0);  // Ctrl-C reaches it through this process alone, as one signal
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
    ::execvp(argv[0], argv.data());
    const std::string text = cat("r1: --launch: ", words[0], " cannot be started: ", std::generic_category().message(errno), "\n");
    [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(127);
  }
  return pid;
}

int wait_for(pid_t pid, int forwarded) {
  bool told = false;
  for (;;) {
    int status = 0;
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (const int signal = stop_signal(); signal != 0 && !told) {
      ::kill(pid, forwarded == 0 ? signal : forwarded);
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

// Another try may end otherwise.
bool worth_another_try(int code) {
  const bool asked = code == 128 + SIGINT || code == 128 + SIGTERM;
  return code == dist::kLostRank || (code > 128 && !asked);
}

}  // namespace

int supervise(const Supervision& supervision, const std::vector<std::string>& arguments) {
  install_stop_signals();
  std::vector<std::string> words;
  std::istringstream launch(supervision.launch);
  for (std::string word; launch >> word;) words.push_back(word);
  const int forwarded = words.empty() ? 0 : SIGUSR1;
  words.push_back("/proc/self/exe");
  char path[4096];
  if (const auto length = ::readlink("/proc/self/exe", path, sizeof path); length > 0) words.back().assign(path, static_cast<size_t>(length));
  words.insert(words.end(), arguments.begin(), arguments.end());
  for (int64_t attempt = 0;; ++attempt) {
    const int code = wait_for(start(words), forwarded);
    if (stop_signal() != 0 || !worth_another_try(code)) return code;
    if (attempt == supervision.max_restarts) {
      log_error(cat("the run has ended with exit code ", code, " and been started ", attempt + 1, " times: given up"));
      return code;
    }
    log_warning(cat("the run has ended with exit code ", code, ": restart ", attempt + 1, " of ", supervision.max_restarts, " from its newest checkpoint"));
    std::this_thread::sleep_for(std::chrono::duration<double>(kPause_s));
    if (attempt == 0) words.push_back("--or-resume");
  }
}

}  // namespace r1::apps
