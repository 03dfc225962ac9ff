#include "judge.h"

#include <gtest/gtest.h>

namespace r1::dist {
namespace {

Witness rank(int number, int64_t begun, double waits_s = -1, const std::string& text = "all_reduce of 'x' (3 x float32, 12 bytes)") {
  Witness w;
  w.status.rank = number;
  w.status.pid = 100 + number;
  w.status.host = "a";
  w.status.phase = "backward";
  w.status.groups.push_back({.name = "all ranks", .begun = begun, .newest = {}});
  w.status.groups[0].newest.push_back({.number = begun, .text = text, .phase = "backward", .ended = waits_s < 0, .waits_s = waits_s});
  return w;
}

constexpr Limits kLimits{.deadline_s = 60, .heartbeat_s = 10};

std::string fault(const std::vector<Witness>& ranks) { return find_fault(ranks, kLimits).value_or(""); }

TEST(Judge, ANormalJobHasNoFault) {
  EXPECT_EQ(fault({rank(0, 5), rank(1, 5, 3.0), rank(2, 4)}), "");
  auto slow = rank(2, 4);
  slow.silent_s = 9.9;
  EXPECT_EQ(fault({rank(0, 5), rank(1, 5, 59), slow}), "");
}

TEST(Judge, ALostRankComesBeforeWhatFollowsFromIt) {
  auto gone = rank(2, 1'203);
  gone.gone = true;
  EXPECT_EQ(fault({rank(0, 1'204, 100), rank(1, 1'204, 100), gone}),
            "rank 2 (pid 102 on a) is lost: its process has ended. It was in phase 'backward', after collective 1,203.");
  gone.status.state = RankStatus::State::kLeft;
  EXPECT_EQ(fault({rank(0, 1'203), rank(1, 1'203), gone}), "");
}

TEST(Judge, SilenceIsLossAtTheHeartbeat) {
  auto silent = rank(1, 2);
  silent.silent_s = 10;
  EXPECT_NE(fault({rank(0, 2), silent}).find("rank 1 (pid 101 on a) is lost: no sign of life for 10 s (its process hangs, or a link is cut)"), std::string::npos);
}

TEST(Judge, DifferentCollectivesOfOneNumber) {
  EXPECT_EQ(fault({rank(0, 5), rank(1, 5, 0, "barrier 'end'")}),
            "the ranks have lost step: collective 5: all_reduce of 'x' (3 x float32, 12 bytes) (phase 'backward') is what rank 0 (pid 100 on a) is in, and "
            "rank 1 (pid 101 on a) is in barrier 'end' (phase 'backward').");
  auto other = rank(1, 5, 0, "barrier 'end'");
  other.status.groups[0].name = "experts 1";  // numbers of another communicator
  EXPECT_EQ(fault({rank(0, 5), other}), "");
}

TEST(Judge, TheDeadlineNamesAllWhoAreMissing) {
  EXPECT_EQ(fault({rank(0, 4), rank(1, 5, 61), rank(2, 3)}),
            "missing in collective 5: all_reduce of 'x' (3 x float32, 12 bytes), for which rank 1 (pid 101 on a) has waited 61 s (deadline 60 s): "
            "rank 0 (pid 100 on a), which is in phase 'backward', after collective 4; rank 2 (pid 102 on a), which is in phase 'backward', after collective 3.");
  EXPECT_NE(fault({rank(0, 5, 61), rank(1, 5, 61)}).find("does not end, though every rank is in it"), std::string::npos);
}

TEST(Judge, OneWhoHasLeftIsNotWaitedFor) {
  auto left = rank(1, 4);
  left.status.state = RankStatus::State::kLeft;
  EXPECT_EQ(fault({rank(0, 5, 0.1), left}), "");
  EXPECT_EQ(fault({rank(0, 5, 1.0), left}).rfind("rank 1 (pid 101 on a) has left the job, and rank 0 (pid 100 on a) waits for it in collective 5", 0), 0u);
  left.status.state = RankStatus::State::kFailed;
  EXPECT_EQ(fault({rank(0, 5, 1.0), left}).rfind("rank 1 (pid 101 on a) has ended with an error of its own", 0), 0u);
}

TEST(Judge, AStatusComesBackAsItWasWritten) {
  auto s = rank(7, 12, 1.5).status;
  s.beat = 99;
  s.finding = "something";
  s.phase = "two words";
  s.groups.push_back({.name = "experts 1", .begun = 3, .newest = {}});
  EXPECT_EQ(RankStatus::read(s.write()).write(), s.write());
  EXPECT_EQ(RankStatus::read(s.write()).doing(), s.doing());
  EXPECT_EQ(RankStatus::read("").write(), RankStatus().write());
}

TEST(Judge, NumbersAreReadable) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1'000), "1,000");
  EXPECT_EQ(with_commas(12'345'678), "12,345,678");
  EXPECT_EQ(short_seconds(2), "2 s");
  EXPECT_EQ(short_seconds(3.25), "3.2 s");
  EXPECT_EQ(short_seconds(1800), "1,800 s");
}

}  // namespace
}  // namespace r1::dist
