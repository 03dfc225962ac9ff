#include "r1/reward/answer.h"

#include <gtest/gtest.h>

namespace r1 {
namespace {

std::string extract(const std::string& text, Extract extractor, bool think_opened = false) {
  return extract_answer(text, {extractor}, think_opened).value_or("none");
}

TEST(WithoutThinking, KeepsWhatTheReaderSees) {
  EXPECT_EQ(without_thinking("a<think>b</think>c", false), "a\nc");
  EXPECT_EQ(without_thinking("b</think>c", true), "\nc");
  EXPECT_EQ(without_thinking("b</think>c", false), "\nc");  // only the prompt can have opened it
  EXPECT_EQ(without_thinking("a<think>b", false), "a");
  EXPECT_EQ(without_thinking("b", true), "");
  EXPECT_EQ(without_thinking("1 < 2 <b> <thin", false), "1 < 2 <b> <thin");
}

TEST(ExtractAnswer, AnswerTag) {
  EXPECT_EQ(extract("<answer> 5 </answer>", Extract::kAnswerTag), "5");
  EXPECT_EQ(extract("<answer>5</answer> or <answer>6</answer>", Extract::kAnswerTag), "6");
  EXPECT_EQ(extract("<answer>5</answer> <answer>6", Extract::kAnswerTag), "5");
  EXPECT_EQ(extract("<answer>5 <answer>6</answer>", Extract::kAnswerTag), "6");
  EXPECT_EQ(extract("<think><answer>5</answer></think>", Extract::kAnswerTag), "none");
  EXPECT_EQ(extract("<think><answer>5</answer></think><answer>7</answer>", Extract::kAnswerTag), "7");
  EXPECT_EQ(extract("<think>x</think><answer>7</answer><think><answer>8</answer>", Extract::kAnswerTag), "7");
  EXPECT_EQ(extract("<answer></answer>", Extract::kAnswerTag), "none");
  EXPECT_EQ(extract("</answer>5<answer>", Extract::kAnswerTag), "none");
  EXPECT_EQ(extract("", Extract::kAnswerTag), "none");
  EXPECT_EQ(extract("<answer>5</answer>", Extract::kAnswerTag, /*think_opened=*/true), "none");
}

TEST(ExtractAnswer, Boxed) {
  EXPECT_EQ(extract("so \\boxed{\\frac{1}{2}}.", Extract::kBoxed), "\\frac{1}{2}");
  EXPECT_EQ(extract("\\boxed{1} then \\boxed{2} then \\boxed{3", Extract::kBoxed), "2");
  EXPECT_EQ(extract("\\boxed{\\{1,2\\}}", Extract::kBoxed), "\\{1,2\\}");
  EXPECT_EQ(extract("{ \\boxed{4}", Extract::kBoxed), "4");
  EXPECT_EQ(extract("} \\fbox{4}", Extract::kBoxed), "4");
  EXPECT_EQ(extract("boxed{4}", Extract::kBoxed), "none");
  EXPECT_EQ(extract("\\boxed{}", Extract::kBoxed), "none");
}

TEST(ExtractAnswer, HashesNumbersAndLines) {
  EXPECT_EQ(extract("2+2\n#### 4\nmore", Extract::kHashes), "4");
  EXPECT_EQ(extract("#### 3 #### 4", Extract::kHashes), "4");
  EXPECT_EQ(extract("### 4", Extract::kHashes), "none");
  EXPECT_EQ(extract("I have 3 and 4 left.", Extract::kLastNumber), "4");
  EXPECT_EQ(extract(" 19\n15 + 2 = 17", Extract::kFirstLine), "19");
  EXPECT_EQ(extract("19", Extract::kFirstLine), "19");
  EXPECT_EQ(extract("\n19", Extract::kFirstLine), "none");
}

TEST(ExtractAnswer, TriesExtractorsInOrder) {
  const std::string text = "<answer>3</answer> \\boxed{4}";
  EXPECT_EQ(extract_answer(text, {Extract::kBoxed, Extract::kAnswerTag}), "4");
  EXPECT_EQ(extract_answer(text, {Extract::kHashes, Extract::kAnswerTag}), "3");
  EXPECT_EQ(extract_answer(text, {}), std::nullopt);
}

TEST(CompareAnswers, NumbersAreEqualWhenTheirValuesAre) {
  for (const auto& [answer, gold] : std::vector<std::pair<std::string, std::string>>{
           {"18", "18"},
           {"18.00", "18"},
           {"$18", "18"},
           {"1,000", "1000"},
           {"0.5", "\\frac{1}{2}"},
           {"2/4", "\\frac12"},
           {"18 dollars", "18"},
           {"18", "18\\%"},
           {"x = 5", "5"},
           {"5 cm", "5 \\text{ cm}"},
           {"5 mile", "5 miles"},
           {"1000000000000000000000000000001", "1,000,000,000,000,000,000,000,000,000,001"},
           {"\\boxed{7}", "7"}}) {
    EXPECT_EQ(compare_answers(answer, gold), Verdict::kRight) << answer << " against " << gold;
  }
}

TEST(CompareAnswers, NearIsNotEqual) {
  for (const auto& [answer, gold] : std::vector<std::pair<std::string, std::string>>{
           {"19", "18"},
           {"-18", "18"},
           {"0.333333", "1/3"},
           {"0.18", "18%"},
           {"18 or 19", "18"},
           {"18 million", "18"},
           {"2x", "2"},
           {"5 cm", "5 miles"},
           {"9007199254740993", "9007199254740992"},  // equal as doubles
           {"1000000000000000000000000000001", "1000000000000000000000000000000"}}) {
    EXPECT_EQ(compare_answers(answer, gold), Verdict::kWrong) << answer << " against " << gold;
  }
}

TEST(CompareAnswers, TextsAreEqualWithoutTheirDressing) {
  for (const auto& [answer, gold] :
       std::vector<std::pair<std::string, std::string>>{{"(3, -1)", "(3,-1)"},
                                                        {"\\left(3,-1\\right)", "(3,-1)"},
                                                        {"\\text{(B)}", "(B)"},
                                                        {"$x+1$.", "x + 1"},
                                                        {"\\dfrac{8-7x}{6}", "\\frac{8-7x}{6}"},
                                                        {"\\frac 94\\pi", "\\frac{9}{4}\\pi"},
                                                        {"\\frac{\\sqrt6}2", "\\frac{\\sqrt{6}}{2}"},
                                                        {"10\\sqrt 3", "10\\sqrt{3}"},
                                                        {"\\frac1{2x}", "\\frac{1}{2x}"},
                                                        {"\\frac12x", "\\frac{1}{2}x"}}) {
    EXPECT_EQ(compare_answers(answer, gold), Verdict::kRight) << answer << " against " << gold;
  }
  EXPECT_EQ(compare_answers("b", "B"), Verdict::kWrong);
  EXPECT_EQ(compare_answers("\\sqrt{12}", "\\sqrt12"), Verdict::kWrong);  // LaTeX reads one digit
  EXPECT_EQ(compare_answers("\\leftarrow", "arrow"), Verdict::kWrong);
}

TEST(CompareAnswers, WhatCannotBeReadIsItsOwnVerdict) {
  EXPECT_EQ(compare_answers("5", ""), Verdict::kGoldUnreadable);
  EXPECT_EQ(compare_answers("", " $ "), Verdict::kGoldUnreadable);
  EXPECT_EQ(compare_answers("5", "five", Compare::kNumber), Verdict::kGoldUnreadable);
  EXPECT_EQ(compare_answers("five", "5", Compare::kNumber), Verdict::kAnswerUnreadable);
  EXPECT_EQ(compare_answers("five", "5"), Verdict::kWrong);
  EXPECT_EQ(compare_answers("", "5"), Verdict::kAnswerUnreadable);
  EXPECT_EQ(compare_answers(" ", "x"), Verdict::kAnswerUnreadable);
  EXPECT_EQ(compare_answers("5.0", "5", Compare::kText), Verdict::kWrong);
  EXPECT_STREQ(verdict_name(Verdict::kGoldUnreadable), "gold_unreadable");
}

}  // namespace
}  // namespace r1
