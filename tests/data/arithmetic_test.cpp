#include "r1/data/arithmetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "r1/data/prompt_template.h"
#include "temp_file.h"

namespace r1 {
namespace {

ArithmeticConfig parse(const std::string& yaml) {
  return ArithmeticConfig::parse(ConfigNode::parse_text(yaml, "test.yaml"));
}

using Key = std::tuple<int64_t, int64_t, std::string>;

Key commutative_key(const Problem& problem) {
  int64_t a = problem.extra["a"], b = problem.extra["b"];
  if (problem.extra["op"] != "-" && a > b) std::swap(a, b);
  return {a, b, problem.extra["op"]};
}

TEST(Arithmetic, NoTaskStandsOnBothSides) {
  const auto set = arithmetic_problems(parse("{ops: \"+-*\", a: [0, 60], b: [0, 60], eval_fraction: 0.2}"));
  EXPECT_EQ(set.train.size() + set.eval.size(), 3u * 61 * 61);
  EXPECT_NEAR(static_cast<double>(set.eval.size()) / (3 * 61 * 61), 0.2, 0.02);
  std::set<Key> train;
  for (const auto& problem : set.train) train.insert(commutative_key(problem));
  for (const auto& problem : set.eval)
    EXPECT_FALSE(train.contains(commutative_key(problem))) << problem.prompt;
}

TEST(Arithmetic, HoldingOutDependsOnTheTaskAlone) {
  SplitConfig split;
  split.eval_fraction = 0.5;
  int held_out = 0, minus_differs = 0, seed_differs = 0;
  auto other_seed = split;
  other_seed.split_seed = 1;
  for (int64_t a = 0; a < 40; ++a) {
    for (int64_t b = 0; b < 40; ++b) {
      EXPECT_EQ(is_held_out({a, b, '+'}, split), is_held_out({b, a, '+'}, split));
      EXPECT_EQ(is_held_out({a, b, '*'}, split), is_held_out({b, a, '*'}, split));
      held_out += is_held_out({a, b, '-'}, split);
      minus_differs += is_held_out({a, b, '-'}, split) != is_held_out({b, a, '-'}, split);
      seed_differs += is_held_out({a, b, '-'}, split) != is_held_out({a, b, '-'}, other_seed);
    }
  }
  EXPECT_NEAR(held_out, 800, 100);
  EXPECT_NEAR(minus_differs, 780, 100);
  EXPECT_NEAR(seed_differs, 800, 100);
}

TEST(Arithmetic, PromptsAndAnswers) {
  const auto config =
      parse("{ops: \"-\", a: [7, 7], b: [12, 12], prompt: \"{a}{op}{b}=?\", eval_fraction: 0}");
  const auto set = arithmetic_problems(config);
  ASSERT_EQ(set.train.size(), 1u);
  EXPECT_TRUE(set.eval.empty());
  EXPECT_EQ(set.train[0].prompt, "7-12=?");
  EXPECT_EQ(set.train[0].answer, "-5");
  EXPECT_EQ(set.train[0].kind, "arithmetic");
  EXPECT_EQ(set.train[0].extra, (nlohmann::json{{"a", 7}, {"b", 12}, {"op", "-"}}));
}

TEST(Arithmetic, NegativeResultsCanBeLeftOut) {
  const auto set = arithmetic_problems(parse("{ops: \"-\", a: [0, 9], b: [0, 9], negative_results: false}"));
  EXPECT_EQ(set.train.size() + set.eval.size(), 55u);
}

TEST(Arithmetic, ALargeSpaceIsSampledWithoutRepeats) {
  const auto config = parse("{ops: \"+*\", a: [0, 999999], b: [0, 999999], max_problems: 500}");
  const auto tasks = arithmetic_tasks(config);
  EXPECT_EQ(tasks.size(), 500u);
  std::set<std::tuple<int64_t, int64_t, char>> distinct;
  for (const auto& task : tasks) distinct.insert({task.a, task.b, task.op});
  EXPECT_EQ(distinct.size(), 500u);
  const auto again = arithmetic_tasks(config);
  EXPECT_TRUE(std::equal(tasks.begin(), tasks.end(), again.begin(), [](const auto& x, const auto& y) {
    return x.a == y.a && x.b == y.b && x.op == y.op;
  }));
}

TEST(Arithmetic, LargestOperandsDoNotOverflow) {
  const auto tasks = arithmetic_tasks(parse("{ops: \"*\", a: [1e9, 1e9], b: [1e9, 1e9]}"));
  EXPECT_EQ(tasks.at(0).result(), 1'000'000'000'000'000'000);
}

TEST(Arithmetic, EvalSizeCutsAKeyedShuffle) {
  const auto all = arithmetic_problems(parse("{a: [0, 30], b: [0, 30], eval_fraction: 0.3}"));
  const auto cut = arithmetic_problems(parse("{a: [0, 30], b: [0, 30], eval_fraction: 0.3, eval_size: 50}"));
  ASSERT_EQ(cut.eval.size(), 50u);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(cut.eval[i].prompt, all.eval[i].prompt);
  EXPECT_FALSE(
      std::is_sorted(all.eval.begin(), all.eval.end(), [](auto& x, auto& y) { return x.id < y.id; }));
}

TEST(Arithmetic, ShotsAreOtherSolvedTrainingTasks) {
  const std::string yaml =
      R"({a: [10, 99], b: [10, 99], prompt: "{a} {op} {b} =", eval_fraction: 0.1, eval_size: 40,
    shots: {count: 4, template: "{a} {op} {b} = {answer}\n"}})";
  const auto config = parse(yaml);
  const auto set = arithmetic_problems(config);
  std::set<std::string> held_out, blocks;
  for (int64_t a = 10; a <= 99; ++a) {
    for (int64_t b = 10; b <= 99; ++b) {
      if (is_held_out({a, b, '+'}, config.split)) held_out.insert(arithmetic_prompt(config, {a, b, '+'}));
    }
  }
  for (const auto* problems : {&set.eval, &set.train}) {
    for (size_t i = 0; i < 40; ++i) {
      std::istringstream lines((*problems)[i].prompt);
      std::string line;
      for (int shot = 0; shot < 4; ++shot) {
        ASSERT_TRUE(std::getline(lines, line));
        int64_t a = 0, b = 0, answer = 0;
        ASSERT_EQ(std::sscanf(line.c_str(), "%ld + %ld = %ld", &a, &b, &answer), 3) << line;
        EXPECT_EQ(a + b, answer);
        EXPECT_FALSE(held_out.contains(arithmetic_prompt(config, {a, b, '+'}))) << line;
      }
      ASSERT_TRUE(std::getline(lines, line));
      EXPECT_EQ(line, arithmetic_prompt(config, {(*problems)[i].extra["a"], (*problems)[i].extra["b"], '+'}));
      EXPECT_FALSE(std::getline(lines, line));
      blocks.insert((*problems)[i].prompt.substr(0, (*problems)[i].prompt.rfind('\n')));
    }
  }
  EXPECT_EQ(blocks.size(), 80u);
}

TEST(Arithmetic, FixedShotsAreTheSameForAll) {
  const auto set = arithmetic_problems(
      parse("{a: [10, 99], b: [10, 99], eval_size: 50, eval_fraction: 0.1, shots: {count: 3, fixed: true}}"));
  std::set<std::string> blocks;
  for (const auto& problem : set.eval) blocks.insert(problem.prompt.substr(0, problem.prompt.rfind('\n')));
  EXPECT_EQ(blocks.size(), 1u);
}

TEST(Arithmetic, BadSectionsSayWhatIsAccepted) {
  EXPECT_HAS(error_of([] { parse("{ops: \"+/\"}"); }), "+ - *");
  EXPECT_HAS(error_of([] { parse("{ops: \"++\"}"); }), "each once");
  EXPECT_HAS(error_of([] { parse("{a: [5, 4]}"); }), "least <= largest");
  EXPECT_HAS(error_of([] { parse("{a: [5]}"); }), "least <= largest");
  EXPECT_HAS(error_of([] { parse("{a: [-1, 4]}"); }), "0 <= least");
  EXPECT_HAS(error_of([] { parse("{prompt: \"{a} + {b}\"}"); }), "{op}");
  EXPECT_HAS(error_of([] { parse("{shots: {template: \"{a} {op} {b}\"}}"); }), "{answer}");
  EXPECT_HAS(error_of([] { parse("{shot: {count: 1}}"); }), "shots");
  EXPECT_HAS(error_of([] { arithmetic_problems(parse("{a: [0, 9], b: [0, 9], eval_size: 90}")); }),
             "eval_size is 90");
  EXPECT_HAS(error_of([] {
               arithmetic_problems(parse("{a: [0, 0], b: [1, 1], ops: \"-\", negative_results: false}"));
             }),
             "no problem is left");
  EXPECT_HAS(error_of([] { arithmetic_problems(parse("{a: [0, 2], b: [0, 2], shots: {count: 20}}")); }),
             "20 shots");
}

TEST(PromptTemplate, FillsKnownNamesOnly) {
  EXPECT_EQ(fill_template("{a} {b} {a} {c} {} { {a", {{"a", "{b}"}, {"b", "2"}}), "{b} 2 {b} {c} {} { {a");
  EXPECT_EQ(fill_template("\\boxed{} {prompt}", {{"prompt", "x"}}), "\\boxed{} x");
  EXPECT_EQ(fill_template("", {{"a", "1"}}), "");
}

}  // namespace
}  // namespace r1
