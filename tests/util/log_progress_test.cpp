#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <regex>
#include <thread>

#include "r1/util/log.h"
#include "r1/util/progress.h"
#include "util/temp_folder.h"

namespace r1 {
namespace {

using testing_support::slurp;
using testing_support::TempFolder;

template <typename Action>
std::string stderr_of(const Action& action) {
  ::testing::internal::CaptureStderr();
  action();
  return ::testing::internal::GetCapturedStderr();
}

// What `action` writes to stderr when that is a terminal `columns` wide. Less than the terminal's buffer of 4
// KiB.
template <typename Action>
std::string terminal_of(const Action& action, unsigned short columns = 120) {
  int master = -1, slave = -1;
  winsize size{24, columns, 0, 0};
  EXPECT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(slave, STDERR_FILENO);
  action();
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::fcntl(master, F_SETFL, O_NONBLOCK);
  std::string text;
  char buffer[1024];
  for (ssize_t got; (got = ::read(master, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<size_t>(got));
  ::close(slave);
  ::close(master);
  return std::regex_replace(text, std::regex("\r\n"), "\n");
}

TEST(Log, LinesHaveTimeLevelAndText) {
  const std::string text = stderr_of([] {
    log_info("one {} % \n two");
    log_warning("careful");
    log_error("broken");
    log_debug("hidden");
  });
  EXPECT_TRUE(std::regex_match(text, std::regex("\\d\\d:\\d\\d:\\d\\d info one \\{\\} % \n two\n"
                                                "\\d\\d:\\d\\d:\\d\\d warning careful\n"
                                                "\\d\\d:\\d\\d:\\d\\d error broken\n")))
      << text;
}

TEST(Log, LevelsHideWhatIsBelow) {
  set_log_level(LogLevel::kError);
  EXPECT_EQ(stderr_of([] { log_warning("w"); }), "");
  EXPECT_HOLDS(stderr_of([] { log_error("e"); }), " error e\n");
  set_log_level(LogLevel::kDebug);
  EXPECT_HOLDS(stderr_of([] { log_debug("d"); }), " debug d\n");
  set_log_level(LogLevel::kInfo);
}

TEST(Log, FileGetsEveryLineUntilItIsClosed) {
  TempFolder folder;
  folder.write("log", "before\n");
  stderr_of([&] {
    set_log_file(folder / "log");
    log_info("first");
    EXPECT_TRUE(std::regex_match(
        slurp(folder / "log"), std::regex("before\n\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d info first\n")))
        << slurp(folder / "log");
    set_log_file(folder / "other");
    log_info("second");
    set_log_file("");
    log_info("third");
    EXPECT_THROW(set_log_file(folder / "no/log"), Error);
  });
  EXPECT_EQ(slurp(folder / "log").find("second"), std::string::npos);
  EXPECT_HOLDS(slurp(folder / "other"), "info second\n");
  EXPECT_EQ(slurp(folder / "other").find("third"), std::string::npos);
}

TEST(Log, ThreadsDoNotMixLines) {
  TempFolder folder;
  stderr_of([&] {
    set_log_file(folder / "log");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 200; ++i) log_info(std::string(50, static_cast<char>('a' + t)));
      });
    }
    for (auto& thread : threads) thread.join();
    set_log_file("");
  });
  std::istringstream lines(slurp(folder / "log"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    ASSERT_TRUE(std::regex_match(line, std::regex(".* info (a{50}|b{50}|c{50}|d{50})"))) << line;
  }
  EXPECT_EQ(count, 800);
}

TEST(Log, ColoursOnATerminalOnly) {
  EXPECT_HOLDS(terminal_of([] { log_error("red"); }), "\x1b[31m");
  EXPECT_EQ(stderr_of([] { log_error("plain"); }).find('\x1b'), std::string::npos);
}

struct FakeClock {
  double now_s = 100;
  std::function<double()> get() {
    return [this] { return now_s; };
  }
};

TEST(Progress, PlainLinesEveryTenSecondsAndAtTheEnd) {
  FakeClock clock;
  const std::string text = stderr_of([&] {
    Progress progress("pretrain", 800, clock.get());
    for (int step = 1; step <= 30; ++step) {
      clock.now_s += 1;
      progress.update(step, "loss 2.31");
    }
    progress.finish("loss 2.00");
    progress.finish("again");
    progress.update(40);
  });
  EXPECT_EQ(text,
            "pretrain  10/800  1%  loss 2.31  10s, 13m10s left\n"
            "pretrain  20/800  2%  loss 2.31  20s, 13m00s left\n"
            "pretrain  30/800  3%  loss 2.31  30s, 12m50s left\n"
            "pretrain  30/800  3%  loss 2.00  30s\n");
}

TEST(Progress, TimeLeftCountsFromTheResumedPoint) {
  FakeClock clock;
  const std::string text = stderr_of([&] {
    Progress progress("grpo", 200, clock.get());
    progress.update(100);
    clock.now_s += 10;
    progress.update(110);
  });
  EXPECT_EQ(text, "grpo  110/200  55%  10s, 1m30s left\n");
}

TEST(Progress, ShortJobsAreSilent) {
  FakeClock clock;
  EXPECT_EQ(stderr_of([&] {
              Progress progress("eval", 10, clock.get());
              clock.now_s += 1.9;
              progress.update(10);
              progress.finish();
            }),
            "");
  EXPECT_EQ(stderr_of([&] {
              Progress progress("eval", 10, clock.get());
              clock.now_s += 2.1;
              progress.update(10);
              progress.finish();
            }),
            "eval  10/10  100%  2.1s\n");
}

TEST(Progress, NothingToDo) {
  FakeClock clock;
  EXPECT_EQ(stderr_of([&] {
              Progress progress("eval", 0, clock.get());
              clock.now_s += 3;
              progress.finish();
            }),
            "eval  0/0  3.0s\n");
}

TEST(Progress, ATerminalLineIsRedrawnAtMostFiveTimesASecond) {
  FakeClock clock;
  const std::string text = terminal_of([&] {
    Progress progress("p", 100, clock.get());
    for (int step = 1; step <= 100; ++step) {
      clock.now_s += 0.01;
      progress.update(step);
    }
    progress.finish();
  });
  int draws = 0;
  for (size_t at = 0; (at = text.find("\r\x1b[Kp  ", at)) != std::string::npos; ++at) ++draws;
  EXPECT_GE(draws, 5) << text;
  EXPECT_LE(draws, 7) << text;
  EXPECT_EQ(text.rfind("p  100/100  100%  1.0s\n"), text.size() - 23) << text;
}

TEST(Progress, ATerminalLineIsCutToItsWidth) {
  FakeClock clock;
  const std::string text = terminal_of(
      [&] {
        Progress progress("p", 100, clock.get());
        progress.update(1,
                        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
      },
      20);
  EXPECT_EQ(text, "\r\x1b[Kp  1/100  1%  \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\n");
}

TEST(Progress, ALogLineClearsTheProgressLineFirst) {
  FakeClock clock;
  const std::string text = terminal_of([&] {
    Progress progress("p", 100, clock.get());
    progress.update(1);
    log_info("hello");
    clock.now_s += 1;
    progress.update(2);
  });
  EXPECT_TRUE(std::regex_match(text, std::regex("\r\x1b\\[Kp  1/100  1%  0.0s\r\x1b\\[K[0-9:]+ info hello\n"
                                                "\r\x1b\\[Kp  2/100  2%  1.0s, 1m38s left\n")))
      << text;
}

TEST(Progress, ClockGoesForward) {
  const double before = monotonic_s();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_GE(monotonic_s() - before, 0.002);
}

}  // namespace
}  // namespace r1
