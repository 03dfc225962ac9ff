#include "r1/util/stop_signal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>

namespace r1 {
namespace {

// The wait status of a child that runs `body`: signal state belongs to a process, so each test has its own.
int status_of_child(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a test that hangs ends by a signal
    ::close(STDERR_FILENO);
    body();
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

int exit_code_of(const std::function<void()>& body) {
  const int status = status_of_child(body);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(StopSignal, TheFirstSignalOnlySetsTheFlag) {
  EXPECT_EQ(stop_signal(), 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    EXPECT_EQ(exit_code_of([=] {
                install_stop_signals();
                if (stop_signal() != 0) ::_exit(2);
                ::raise(signal);
                install_stop_signals();  // changes nothing
                ::_exit(stop_signal() == signal ? 0 : 3);
              }),
              0);
  }
}

TEST(StopSignal, TheSecondEndsTheProcess) {
  const auto send = [](int first, int second) {
    return exit_code_of([=] {
      install_stop_signals();
      ::raise(first);
      ::raise(second);
    });
  };
  EXPECT_EQ(send(SIGINT, SIGINT), 130);
  EXPECT_EQ(send(SIGTERM, SIGTERM), 143);
  EXPECT_EQ(send(SIGINT, SIGTERM), 143);
}

TEST(StopSignal, WithoutInstallingTheDefaultHolds) {
  EXPECT_EQ(exit_code_of([] { ::raise(SIGTERM); }), -SIGTERM);
}

// malloc's lock is held most of the time here: a handler that allocated would hang or crash in some of the
// rounds.
TEST(StopSignal, ArrivesSafelyInTheMiddleOfAllocations) {
  for (int round = 0; round < 20; ++round) {
    const pid_t parent = ::getpid();
    EXPECT_EQ(exit_code_of([=] {
                install_stop_signals();
                const pid_t self = ::getpid();
                if (::fork() == 0) {
                  ::usleep(static_cast<useconds_t>(500 + 37 * round));
                  ::kill(self, SIGINT);
                  ::_exit(0);
                }
                while (stop_signal() == 0) {
                  std::string text(static_cast<size_t>(1 + ::rand() % 5000), 'x');
                  if (text.back() != 'x') ::_exit(4);
                }
                ::_exit(stop_signal() == SIGINT && parent != self ? 0 : 5);
              }),
              0);
  }
}

}  // namespace
}  // namespace r1
