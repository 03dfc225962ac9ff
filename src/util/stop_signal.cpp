#include "r1/util/stop_signal.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace r1 {
namespace {

static_assert(std::atomic<int>::is_always_lock_free,
              "only lock-free atomics may be used in a signal handler");
std::atomic<int> first_signal{0};  // written by the handler, so it cannot live anywhere else

extern "C" void on_stop_signal(int signal) {
  if (signal == SIGUSR1) signal = SIGTERM;
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, signal)) ::_exit(128 + signal);
  constexpr char kText[] = "\nstopping after this step; once more to stop at once\n";
  const int saved_errno = errno;
  [[maybe_unused]] const auto ignored = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  errno = saved_errno;
}

}  // namespace

void install_stop_signals() {
  struct sigaction action{};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGUSR1, &action, nullptr);
}

int stop_signal() { return first_signal.load(); }

}  // namespace r1
