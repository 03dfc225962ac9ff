#include "r1/train/evaluation.h"

#include <gtest/gtest.h>

#include "r1/util/error.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

Reward number_reward() {
  return Reward(RewardConfig::parse(
      ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: first_line, compare: number}, "
                             "format: {kind: format, weight: 0}}",
                             "test.yaml")));
}

std::vector<Problem> problems() {
  std::vector<Problem> out;
  for (int i = 0; i < 12; ++i) {
    Problem p;
    p.id = i;
    p.prompt = std::string(1, static_cast<char>('0' + i % 3)) + "+" +
               std::string(1, static_cast<char>('0' + i / 3 % 3)) + "=";
    p.answer = i == 5 ? "unreadable" : std::string(1, static_cast<char>('0' + i % 3));
    out.push_back(p);
  }
  return out;
}

struct Run {
  EvalResult result;
  std::vector<ScoredGroup> groups;
};

Run run(int64_t samples, double temperature, int64_t count = 100) {
  rollout::Engine engine(test::tiny_model(), test::tiny_tokenizer(), {});
  rollout::SamplingConfig sampling;
  sampling.rule.temperature = temperature;
  sampling.max_completion_tokens = 2;
  Run out;
  int64_t told = 0;
  const auto tokenizer = test::tiny_tokenizer();
  const auto reward = number_reward();
  const Sharing alone;
  ScoringSeconds seconds;
  out.result = evaluate({engine, tokenizer, reward, alone, seconds}, problems(), count, samples, sampling,
                        {.seed = 3, .stage = 1, .step = 0},
                        {.group = [&](const ScoredGroup& g) { out.groups.push_back(g); },
                         .progress =
                             [&](int64_t done, int64_t total, int64_t tokens) {
                               EXPECT_GE(tokens, done);
                               EXPECT_GE(done, told);
                               told = done;
                               EXPECT_EQ(total, std::min<int64_t>(count, 12) * samples);
                             }});
  EXPECT_EQ(told, std::min<int64_t>(count, 12) * samples);
  return out;
}

TEST(Evaluation, FiguresAreThoseOfTheSamples) {
  const auto [r, groups] = run(4, 1.0);
  EXPECT_EQ(r.problems, 11);
  EXPECT_EQ(r.gold_unreadable, 1);
  ASSERT_EQ(groups.size(), 12u);
  std::vector<double> pass_1, pass_2, pass_4, cons;
  double tokens = 0, unreadable = 0;
  for (const auto& g : groups) {
    if (g.problem.id == 5) continue;
    int64_t right = 0;
    std::vector<std::string> answers;
    for (size_t i = 0; i < 4; ++i) {
      right += g.scores[i].verdict == Verdict::kRight;
      unreadable += g.scores[i].verdict == Verdict::kAnswerUnreadable;
      tokens += static_cast<double>(g.group.completions[i].tokens.size());
      answers.push_back(g.scores[i].extracted);
    }
    pass_1.push_back(static_cast<double>(right) / 4);
    pass_2.push_back(pass_at_k(4, right, 2));
    pass_4.push_back(right > 0 ? 1 : 0);
    // Numbers of one or two digits: equal by value.
    const auto winner = majority_answer(answers, [](const auto& a, const auto& b) {
      return compare_answers(a, b, Compare::kNumber) == Verdict::kRight;
    });
    cons.push_back(winner && g.scores[*winner].verdict == Verdict::kRight ? 1 : 0);
  }
  EXPECT_DOUBLE_EQ(r.accuracy, mean_over_problems(pass_1).value);
  EXPECT_DOUBLE_EQ(r.accuracy_interval.high, mean_over_problems(pass_1).interval.high);
  EXPECT_GT(r.accuracy, 0) << "a random model gets some right: another seed of the model is needed";
  EXPECT_LT(r.accuracy, 1);
  ASSERT_EQ(r.pass_at.size(), 2u);
  EXPECT_EQ(r.pass_at[0].first, 2);
  EXPECT_DOUBLE_EQ(r.pass_at[0].second.value, mean_over_problems(pass_2).value);
  EXPECT_EQ(r.pass_at[1].first, 4);
  EXPECT_DOUBLE_EQ(r.pass_at[1].second.value, mean_over_problems(pass_4).value);
  ASSERT_TRUE(r.cons.has_value());
  EXPECT_DOUBLE_EQ(r.cons->value, mean_over_problems(cons).value);
  EXPECT_DOUBLE_EQ(r.mean_tokens, tokens / 44);
  EXPECT_DOUBLE_EQ(r.answer_unreadable, unreadable / 44);
  EXPECT_DOUBLE_EQ(r.parts[0].second, r.accuracy);
}

TEST(Evaluation, ASampleDoesNotDependOnHowManyThereAre) {
  const auto one = run(1, 1.0), four = run(4, 1.0), fewer = run(4, 1.0, 5);
  for (size_t i = 0; i < one.groups.size(); ++i) EXPECT_EQ(one.groups[i].texts[0], four.groups[i].texts[0]);
  ASSERT_EQ(fewer.groups.size(), 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(fewer.groups[i].texts, four.groups[i].texts);
  EXPECT_FALSE(one.result.cons.has_value());
  EXPECT_TRUE(one.result.pass_at.empty());
}

TEST(Evaluation, GreedySamplesAreRefused) {
  EXPECT_THROW(run(2, 0.0), Error);
  const auto greedy = run(1, 0.0);
  EXPECT_EQ(greedy.result.samples, 1);
  const auto parse = [](const std::string& yaml) {
    return EvalConfig::parse(ConfigNode::parse_text(yaml, "test.yaml"), {});
  };
  EXPECT_EQ(parse("{samples: 16, sampling: {temperature: 0.6, top_p: 0.95}}").samples, 16);
  EXPECT_THROW(parse("{samples: 16}"), Error);
  EXPECT_THROW(parse("{samples: 0}"), Error);
}

TEST(Evaluation, FiguresHaveNames) {
  const auto figures = figures_of(run(4, 1.0).result);
  for (const char* name :
       {"accuracy", "accuracy_low", "accuracy_high", "pass_at_2", "pass_at_4_high", "cons_at_4",
        "reward_format", "tokens_mean", "truncated", "problems", "samples", "gold_unreadable"}) {
    test::value_of(figures, name);
  }
}

}  // namespace
}  // namespace r1::train
