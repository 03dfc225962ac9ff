#include "r1/data/countdown.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "temp_file.h"

namespace r1 {
namespace {

CountdownConfig parse(const std::string& yaml) {
  return CountdownConfig::parse(ConfigNode::parse_text(yaml, "test.yaml"));
}

/// A second evaluation of the solution, in doubles: all steps are small whole numbers, so it is exact.
struct Evaluator {
  const char* at;
  double factor() {
    while (*at == ' ') ++at;
    if (*at == '(') {
      ++at;
      const double value = sum();
      ++at;
      return value;
    }
    double value = 0;
    while (*at >= '0' && *at <= '9') value = value * 10 + (*at++ - '0');
    while (*at == ' ') ++at;
    return value;
  }
  double sum() {
    double value = product();
    while (*at == '+' || *at == '-') value = *at++ == '+' ? value + product() : value - product();
    return value;
  }
  double product() {
    double value = factor();
    while (*at == ' ') ++at;
    while (*at == '*' || *at == '/') {
      value = *at++ == '*' ? value * factor() : value / factor();
      while (*at == ' ') ++at;
    }
    return value;
  }
};

std::vector<int64_t> numbers_in(const std::string& text) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    size_t used = 0;
    numbers.push_back(std::stoll(text.substr(i), &used));
    i += used;
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

TEST(CountdownProblems, EachHasASolutionWithItsOwnNumbers) {
  const auto set = countdown_problems(
      parse("{count: 2000, numbers: [2, 5], values: [1, 40], target: [10, 99], eval_fraction: 0.1}"));
  EXPECT_EQ(set.train.size() + set.eval.size(), 2000u);
  EXPECT_NEAR(static_cast<double>(set.eval.size()), 200, 60);
  std::set<std::string> train;
  for (const auto* side : {&set.train, &set.eval}) {
    for (const auto& problem : *side) {
      const std::string solution = problem.extra["solution"];
      std::vector<int64_t> numbers = problem.extra["numbers"];
      const int64_t target = problem.extra["target"];
      Evaluator evaluator{solution.c_str()};
      ASSERT_EQ(evaluator.sum(), static_cast<double>(target)) << solution;
      std::sort(numbers.begin(), numbers.end());
      ASSERT_EQ(numbers_in(solution), numbers) << solution;
      ASSERT_TRUE(10 <= target && target <= 99 && numbers.size() >= 2 && numbers.size() <= 5);
      ASSERT_TRUE(numbers.front() >= 1 && numbers.back() <= 40);
      ASSERT_EQ(problem.answer, std::to_string(target));
      const auto key = nlohmann::json(numbers).dump() + problem.answer;
      if (side == &set.train) {
        ASSERT_TRUE(train.insert(key).second) << "repeated: " << problem.prompt;
      } else {
        ASSERT_FALSE(train.contains(key)) << "on both sides: " << problem.prompt;
      }
    }
  }
}

TEST(CountdownProblems, AreAFunctionOfTheConfig) {
  const auto one = countdown_problems(parse("{count: 50}")), two = countdown_problems(parse("{count: 50}"));
  const auto other = countdown_problems(parse("{count: 50, split_seed: 3}"));
  ASSERT_EQ(one.train.size(), two.train.size());
  for (size_t i = 0; i < one.train.size(); ++i) EXPECT_EQ(one.train[i].prompt, two.train[i].prompt);
  EXPECT_NE(one.train[0].prompt, other.train[0].prompt);
}

TEST(CountdownProblems, ACountThatCannotBeReachedIsAnError) {
  EXPECT_HAS(error_of([] { countdown_problems(parse("{count: 100, numbers: [2, 2], values: [1, 2]}")); }),
             "of 100 distinct");
  EXPECT_HAS(error_of([] { parse("{numbers: [1, 3]}"); }), "2 <= least");
  EXPECT_HAS(error_of([] { parse("{prompt: \"{numbers}\"}"); }), "{target}");
}

}  // namespace
}  // namespace r1
