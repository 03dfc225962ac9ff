#include <gtest/gtest.h>

#include <set>

#include "r1/data/problem_source.h"
#include "temp_file.h"

namespace r1 {
namespace {

std::vector<Problem> numbered(int64_t count) {
  std::vector<Problem> problems(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) problems[static_cast<size_t>(i)].id = i;
  return problems;
}

TEST(ProblemStream, EachEpochIsAPermutationOfItsOwn) {
  const ProblemStream stream(numbered(50), 1, 2);
  std::vector<std::vector<int64_t>> epochs(3);
  for (int64_t i = 0; i < 150; ++i) epochs[static_cast<size_t>(i / 50)].push_back(stream.at(i).id);
  for (const auto& epoch : epochs) EXPECT_EQ(std::set<int64_t>(epoch.begin(), epoch.end()).size(), 50u);
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(ProblemStream, APositionAloneGivesItsProblem) {
  const ProblemStream forwards(numbered(30), 1, 2), jumping(numbered(30), 1, 2);
  const ProblemStream other_seed(numbered(30), 9, 2), other_stage(numbered(30), 1, 3);
  int seed_differs = 0, stage_differs = 0;
  for (int64_t i = 0; i < 90; ++i) {
    const int64_t position = i * 37 % 90;
    EXPECT_EQ(jumping.at(position).id, forwards.at(position).id);
    seed_differs += other_seed.at(i).id != forwards.at(i).id;
    stage_differs += other_stage.at(i).id != forwards.at(i).id;
  }
  EXPECT_GT(seed_differs, 60);
  EXPECT_GT(stage_differs, 60);
}

TEST(ProblemStream, OneAndNone) {
  const ProblemStream one(numbered(1), 1, 1);
  EXPECT_EQ(one.at(1'000'000).id, 0);
  EXPECT_HAS(error_of([] { ProblemStream({}, 1, 1); }), "at least one");
  EXPECT_HAS(error_of([&] { one.at(-1); }), "-1");
}

TEST(ProblemsConfig, PicksTheSourceByKind) {
  const auto parse = [](const std::string& yaml) {
    return ProblemsConfig::parse(ConfigNode::parse_text("problems: " + yaml, "test.yaml").child("problems"));
  };
  EXPECT_EQ(load_problems(parse("{kind: arithmetic, a: [0, 9], b: [0, 9]}")).train[0].kind, "arithmetic");
  EXPECT_EQ(load_problems(parse("{kind: countdown, count: 20}")).train[0].kind, "countdown");
  const auto file = temp_file("p.jsonl", "{\"question\": \"a\", \"answer\": 1}\n");
  EXPECT_EQ(
      load_problems(parse("{kind: jsonl, eval_fraction: 0, file: \"" + file.string() + "\"}")).train[0].kind,
      "jsonl");
  EXPECT_HAS(error_of([&] { parse("{kind: arithmatic}"); }), "arithmetic");
  EXPECT_HAS(error_of([&] { parse("{a: [0, 9]}"); }), "kind");
  EXPECT_HAS(error_of([&] { parse("{kind: countdown, counts: 3}"); }), "count");
}

}  // namespace
}  // namespace r1
