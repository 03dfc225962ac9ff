#include "r1/reward/scoring_pool.h"

#include <gtest/gtest.h>

#include <string>

#include "r1/util/strings.h"

namespace r1 {
namespace {

Reward accuracy() {
  return Reward(RewardConfig::parse(
      ConfigNode::parse_text("reward: {parts: {a: {kind: exact_answer, extract: first_line}}}", "test.yaml")
          .child("reward")));
}

/// Answers 0, 1, 2, ... of which each third is right.
RewardRequest request(size_t place) {
  return {"", std::to_string(place), std::to_string(place % 3 == 0 ? place : place + 1), {}};
}

void expect_all(const std::vector<Score>& scores, size_t count) {
  ASSERT_EQ(scores.size(), count);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(scores[i].extracted, std::to_string(i));
    EXPECT_EQ(scores[i].total, i % 3 == 0 ? 1 : 0);
  }
}

TEST(ScoringPool, ScoresDoNotDependOnThreads) {
  constexpr size_t kCount = 300;
  const Reward reward = accuracy();
  for (const int workers : {0, 1, 4}) {
    ScoringPool pool(reward, workers);
    for (int round = 0; round < 2; ++round) {
      for (size_t i = 0; i < kCount; ++i) {
        const size_t place = i * 7 % kCount;
        pool.submit(place, request(place));
      }
      expect_all(pool.finish(), kCount);
    }
    EXPECT_TRUE(pool.finish().empty());
  }
}

TEST(ScoringPool, EndsWithWorkWaiting) {
  const Reward reward = accuracy();
  ScoringPool pool(reward, 2);
  for (size_t i = 0; i < 100; ++i) pool.submit(i, request(i));
}

TEST(ScoringPool, WorkersOfAConfig) {
  const auto workers = [](const std::string& section) {
    return RewardConfig::parse(
               ConfigNode::parse_text("reward: {" + section + "}", "test.yaml").child("reward"))
        .num_workers();
  };
  EXPECT_EQ(workers("parts: {a: {kind: format}}"), 0);
  EXPECT_EQ(workers("parts: {a: {kind: format}}, workers: 3"), 3);
  EXPECT_GE(workers("parts: {a: {kind: format}, b: {kind: code}}"), 1);
}

}  // namespace
}  // namespace r1
