#include "r1/reward/reward.h"

#include <gtest/gtest.h>

#include <cmath>

#include "r1/util/error.h"

namespace r1 {
namespace {

RewardConfig parse(const std::string& yaml) {
  return RewardConfig::parse(ConfigNode::parse_text(yaml, "test.yaml").child("reward"));
}

constexpr const char* kAccuracyAndFormat = R"(reward:
  parts:
    accuracy: {kind: exact_answer, weight: 1.0, extract: answer_tag}
    format: {kind: format, weight: 0.25}
)";

TEST(RewardScore, PartsAreVisibleAndSummedByWeight) {
  const Reward reward(parse(kAccuracyAndFormat));
  auto score = reward.score({"2+3", "<think>2+3=5</think><answer>5</answer>", "5", {}});
  EXPECT_EQ(score.total, 1.25);
  EXPECT_EQ(score.parts, (std::vector<std::pair<std::string, double>>{{"accuracy", 1.0}, {"format", 1.0}}));
  EXPECT_EQ(score.verdict, Verdict::kRight);
  EXPECT_EQ(score.extracted, "5");

  score = reward.score({"2+3", "<answer>5</answer>", "5", {}});
  EXPECT_EQ(score.total, 1.0);
  EXPECT_EQ(score.parts[1].second, 0.0);

  score = reward.score({"2+3", "<think>x</think><answer>6</answer>", "5", {}});
  EXPECT_EQ(score.total, 0.25);
  EXPECT_EQ(score.verdict, Verdict::kWrong);

  score = reward.score({"2+3", "", "5", {}});
  EXPECT_EQ(score.total, 0.0);
  EXPECT_EQ(score.verdict, Verdict::kAnswerUnreadable);
}

TEST(RewardScore, UnreadableGoldIsNeitherZeroNorOne) {
  const Reward reward(parse(kAccuracyAndFormat));
  const auto score = reward.score({"2+3", "<think>x</think><answer>6</answer>", " ", {}});
  EXPECT_TRUE(std::isnan(score.total));
  EXPECT_TRUE(std::isnan(score.parts[0].second));
  EXPECT_EQ(score.parts[1].second, 1.0);
  EXPECT_EQ(score.verdict, Verdict::kGoldUnreadable);
}

TEST(RewardScore, WeightZeroIsMeasuredOnly) {
  const Reward reward(parse(R"(reward:
  parts:
    format: {kind: format, weight: 1.0}
    watched: {kind: exact_answer, weight: 0}
)"));
  auto score = reward.score({"", "<think>x</think><answer>6</answer>", "6", {}});
  EXPECT_EQ(score.total, 1.0);
  EXPECT_EQ(score.parts[1].second, 1.0);
  EXPECT_EQ(score.verdict, Verdict::kRight);
  EXPECT_EQ(score.extracted, "6");
  score = reward.score({"", "<think>x</think><answer>6</answer>", "", {}});
  EXPECT_EQ(score.total, 1.0);
}

TEST(RewardScore, Countdown) {
  const Reward reward(
      parse("reward: {parts: {reach: {kind: countdown, extract: \"answer_tag, first_line\"}}}"));
  const nlohmann::json task = {{"numbers", {4, 5, 25}}, {"target", 80}};
  EXPECT_EQ(reward.score({"", "<answer>(25-5)*4</answer>", "", task}).total, 1.0);
  EXPECT_EQ(reward.score({"", "(25-5)*4\n", "", task}).total, 1.0);
  EXPECT_EQ(reward.score({"", "<answer>80</answer>", "", task}).total, 0.0);
  for (const auto& broken : {nlohmann::json(), nlohmann::json{{"numbers", {4, 5}}},
                             nlohmann::json{{"numbers", "4"}, {"target", 1}},
                             nlohmann::json{{"numbers", {4, "x"}}, {"target", 1}}}) {
    EXPECT_EQ(reward.score({"", "<answer>4</answer>", "", broken}).verdict, Verdict::kGoldUnreadable)
        << broken;
  }
}

TEST(RewardScore, ThinkOpenedByThePrompt) {
  const Reward reward(parse(R"(reward:
  think_opened: true
  parts: {accuracy: {kind: exact_answer}, format: {kind: format, weight: 0.25}}
)"));
  EXPECT_EQ(reward.score({"<think>", "<answer>1</answer></think><answer>5</answer>", "5", {}}).total, 1.0);
  EXPECT_EQ(reward.score({"<think>", "x</think><answer>5</answer>", "5", {}}).total, 1.25);
}

TEST(RewardScore, LanguageOfThePromptOrByName) {
  const Reward reward(parse(R"(reward:
  parts:
    accuracy: {kind: exact_answer}
    same: {kind: language, weight: 0.5}
    english: {kind: language, weight: 0, language: english, of: completion}
)"));
  const std::string chinese = "<think>我们算一下</think><answer>5</answer>";
  auto score = reward.score({"请计算两个数的和", chinese, "5", {}});
  EXPECT_EQ(score.total, 1.5);
  EXPECT_EQ(score.parts[1].second, 1);
  EXPECT_EQ(score.parts[2].second, 0);
  EXPECT_EQ(reward.score({"What is the sum of the two?", chinese, "5", {}}).total, 1);
  EXPECT_EQ(reward.score({"2 + 3 =", chinese, "5", {}}).total, 1.5)
      << "no words in the prompt: one language is enough";
  EXPECT_EQ(
      reward.score({"What is the sum?", "<answer>the 5 is what we want</answer>", "5", {}}).parts[1].second,
      0)
      << "no thinking";
  EXPECT_EQ(score.verdict, Verdict::kRight) << "of the part that checks the answer";
}

TEST(RewardScore, RepetitionIsAPenalty) {
  const Reward reward(
      parse("reward: {parts: {a: {kind: exact_answer, extract: first_line}, r: {kind: repetition, "
            "ngram: 2, weight: 0.5}}}"));
  EXPECT_EQ(reward.score({"", "5\n", "5", {}}).total, 1);
  const auto score = reward.score({"", "5\na b a b a b", "5", {}});  // 6 bigrams, 3 distinct
  EXPECT_EQ(score.parts[1].second, -0.5);
  EXPECT_EQ(score.total, 0.75);
}

TEST(RewardScore, LengthAsksWhetherTheAnswerIsRight) {
  const Reward reward(parse(R"(reward:
  parts:
    brevity: {kind: length, weight: 0.5, max_characters: 4, right_short: 1, right_long: -1, wrong_short: -1}
    accuracy: {kind: exact_answer, extract: first_line}
)"));
  const auto right = reward.score({"", "5678", "5678", {}});
  EXPECT_EQ(right.parts[0].second, -1);
  EXPECT_EQ(right.total, 0.5);
  EXPECT_EQ(right.verdict, Verdict::kRight);
  EXPECT_EQ(reward.score({"", "56", "56", {}}).parts[0].second, 0);
  EXPECT_EQ(reward.score({"", "5", "6", {}}).total, 0.5 * (-1 + (1 - std::sqrt(0.5)) / 2));
  const auto unreadable = reward.score({"", "5", "", {}});
  EXPECT_TRUE(std::isnan(unreadable.parts[0].second));
  EXPECT_TRUE(std::isnan(unreadable.total));
}

TEST(RewardScore, EachPartsAnswerIsKept) {
  const Reward reward(parse(R"(reward:
  parts:
    boxed: {kind: exact_answer, extract: boxed}
    format: {kind: format, weight: 0.25}
    tagged: {kind: exact_answer, weight: 0}
)"));
  const auto score = reward.score({"", "\\boxed{4} <answer>5</answer>", "5", {}});
  ASSERT_EQ(score.answers.size(), 2u);
  EXPECT_EQ(score.answers[0].part, "boxed");
  EXPECT_EQ(score.answers[0].extracted, "4");
  EXPECT_EQ(score.answers[0].verdict, Verdict::kWrong);
  EXPECT_EQ(score.answers[1].part, "tagged");
  EXPECT_EQ(score.answers[1].extracted, "5");
  EXPECT_EQ(score.answers[1].verdict, Verdict::kRight);
  EXPECT_EQ(score.extracted, "4");
}

void expect_error(const std::string& yaml, const std::vector<std::string>& words) {
  try {
    parse(yaml);
    ADD_FAILURE() << "accepted: " << yaml;
  } catch (const Error& error) {
    for (const auto& word : words) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << error.what() << "\nlacks " << word;
    }
  }
}

TEST(RewardConfig, BadSectionsNamePlaceAndRemedy) {
  expect_error("reward: {}", {"reward", "at least one part"});
  expect_error("reward:\n  parts:\n    a: {kind: formt}", {"test.yaml:3", "formt", "format"});
  expect_error("reward:\n  parts:\n    a: {weight: 1}", {"kind"});
  expect_error("reward:\n  parts:\n    a: {kind: format, weigth: 1}", {"weigth", "weight"});
  expect_error("reward:\n  parts:\n    a: {kind: exact_answer, extract: boxd}", {"boxd", "boxed"});
  expect_error("reward:\n  parts:\n    a: {kind: exact_answer, weight: .nan}", {"weight"});
  expect_error("reward:\n  parts:\n    a: {kind: format, extract: boxed}", {"extract"});
  expect_error("reward:\n  parts:\n    a: {kind: language, language: klingon}", {"klingon", "english"});
  expect_error("reward:\n  parts:\n    a: {kind: language, of: answer}", {"thinking"});
  expect_error("reward:\n  parts:\n    a: {kind: repetition, ngram: 0}", {"ngram"});
  expect_error("reward:\n  parts:\n    a: {kind: exact_answer}\n    b: {kind: length}", {"max_characters"});
  expect_error("reward:\n  parts:\n    a: {kind: length, max_characters: 9}", {"exact_answer", "right"});
  expect_error("reward:\n  workers: -1\n  parts:\n    a: {kind: format}", {"workers"});
}

}  // namespace
}  // namespace r1
