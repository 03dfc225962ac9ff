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
}

}  // namespace
}  // namespace r1
