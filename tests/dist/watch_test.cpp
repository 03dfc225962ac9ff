// Ranks that die, hang, stay away or lose step, for real: every rank that lives says in time who, where and what, and the job ends.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <regex>

#include "dist/mpirun.h"
#include "r1/dist/launch.h"

namespace r1::dist {
namespace {

using testing_support::JobResult;
using testing_support::mpirun_words;
using testing_support::run_job;
using testing_support::run_ranks;

JobResult run_fault(const std::string& what, int who) { return run_ranks(3, {"fault", what, std::to_string(who)}); }

int count(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return static_cast<int>(std::distance(std::sregex_iterator(text.begin(), text.end(), regex), std::sregex_iterator()));
}

// `num_messages` of the living ranks name the culprit.
void expect_message(const JobResult& result, const std::string& pattern, int num_messages, int exit_code, double at_most_s) {
  EXPECT_EQ(count(result.err, pattern), num_messages) << result.err;
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_LT(result.seconds, at_most_s);
}

constexpr double kAtMost_s = 30;  // 2 to 5 on an idle machine

constexpr const char* kGradients = "all_reduce of 'gradients' \\(1,048,576 x float32, 4.2 MB\\)";

TEST(Watch, NamesARankThatIsKilledInACollective) {
  for (const int who : {0, 2}) {
    const auto pattern = "r1: rank " + std::to_string(who) + " \\(pid \\d+ on \\S+\\) is lost: its process has ended. It was in phase 'backward', " +
                         "(waiting since .* in|after) collective \\d+";
    expect_message(run_fault("killed-in-collective", who), pattern, 2, 137, kAtMost_s);
  }
}

TEST(Watch, NamesARankThatIsKilledWhileItComputes) {
  const auto result = run_fault("killed-computing", 2);
  expect_message(result, "r1: rank 2 \\(pid \\d+ on \\S+\\) is lost: its process has ended. It was in phase 'rollout', after collective 3\\.", 2, 137, kAtMost_s);
  EXPECT_EQ(count(result.err, "This is rank [01], in phase 'rollout', waiting since .* s in collective 4: " + std::string(kGradients)), 2) << result.err;
  EXPECT_EQ(count(result.err, "go on with `r1 resume`"), 2);
}

TEST(Watch, FindsARankThatIsKilledWhileNobodyWaits) {
  expect_message(run_fault("killed-all-compute", 0), "r1: rank 0 .* is lost: its process has ended. It was in phase 'rollout'", 2, 137, kAtMost_s);
}

// The ranks run under a shell, so mpirun does not end them, and each says how it ended.
TEST(Watch, LivingRanksEndWithTheCodeOfALostRank) {
  auto words = mpirun_words(3);
  words.insert(words.end(), {"sh", "-c", "trap : TERM; " + std::string(R1_RANK_PROGRAM) + " fault killed-computing 1; echo \"code $?\"; sleep 3"});
  const auto result = run_job(words);
  EXPECT_EQ(count(result.out, "code 75"), 2) << result.out << result.err;
  EXPECT_EQ(count(result.out, "code 137"), 1) << result.out;
  static_assert(kLostRank == 75);
}

TEST(Watch, NamesARankThatIsStopped) {
  for (const int who : {0, 2}) {
    const auto pattern = "r1: rank " + std::to_string(who) +
                         " \\(pid \\d+ on \\S+\\) is lost: no sign of life for [234][0-9. ]* s; its process is stopped. It was in phase 'rollout', after "
                         "collective 3\\.\n  This is rank [012],";
    expect_message(run_fault("stopped", who), pattern, 2, kLostRank, kAtMost_s);
  }
}

TEST(Watch, NamesARankThatDoesNotComeWithinTheDeadline) {
  const auto pattern = "r1: missing in collective 4: " + std::string(kGradients) +
                       ", for which rank \\d \\(pid \\d+ on \\S+\\) has waited 2[0-9.]* s \\(deadline 2 s\\): rank 1 \\(pid \\d+ on \\S+\\), which is in phase "
                       "'reward', after collective 3\\.";
  expect_message(run_fault("missing", 1), pattern, 3, kLostRank, kAtMost_s);
}

TEST(Watch, NamesRanksThatHaveLostStep) {
  const auto result = run_fault("mismatched", 1);
  expect_message(result, "r1: the ranks have lost step: collective 4: ", 3, kLostRank, kAtMost_s);
  EXPECT_GE(count(result.err, "rank 1 \\(pid \\d+ on \\S+\\) is in broadcast of 'weights' \\(5 x float32, 20 bytes, from rank 1\\)"), 3) << result.err;
}

TEST(Watch, ARankThatEndsBeforeTheOthersHasLostStep) {
  expect_message(run_fault("left-early", 2), "rank 2 \\(pid \\d+ on \\S+\\) is in barrier 'end of the job'", 3, kLostRank, kAtMost_s);
}

TEST(Watch, ARankWithAnErrorOfItsOwnEndsTheJob) {
  const auto result = run_fault("error", 2);
  // mpirun's code is that of the first it sees: on a loaded machine the ranks that found it may be quicker than the one that failed.
  expect_message(result, "r1: rank 2 \\(pid \\d+ on \\S+\\) has ended with an error of its own, printed above", 2,
                 result.exit_code == kLostRank ? kLostRank : 1, kAtMost_s);
  EXPECT_EQ(count(result.err, "error: this rank has an error of its own"), 1) << result.err;
}

TEST(Watch, AnErrorTogetherIsPrintedOnceAndIsNoLoss) {
  const auto result = run_fault("error-together", 1);
  EXPECT_EQ(count(result.err, "error: this rank cannot read"), 1) << result.err;
  EXPECT_EQ(count(result.err, "r1:"), 0) << result.err;
  EXPECT_EQ(result.exit_code, 1);
}

TEST(Watch, ARankThatCallsExitIsLost) {
  expect_message(run_fault("exit", 0), "r1: rank 0 \\(pid \\d+ on \\S+\\) is lost: its process has ended.", 2, 3, kAtMost_s);
}

TEST(Watch, APortThatIsTakenIsNamed) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(socket, 1), 0);
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size);
  const auto port = std::to_string(ntohs(address.sin_port));
  const auto result = run_ranks(2, {"port", port});
  EXPECT_EQ(count(result.err, "error: port " + port + ", where rank 0 is to host the ranks' store, is taken on this machine"), 1) << result.err;
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_LT(result.seconds, kAtMost_s);
  ::close(socket);
}

}  // namespace
}  // namespace r1::dist
