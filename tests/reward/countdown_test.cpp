#include "r1/reward/countdown.h"

#include <gtest/gtest.h>

#include <string>

namespace r1 {
namespace {

TEST(Countdown, RightExpressions) {
  EXPECT_EQ(check_countdown("(25 - 5) * 4", {4, 5, 25}, 80), Verdict::kRight);
  EXPECT_EQ(check_countdown("(25-5)*4 = 80", {4, 5, 25}, 80), Verdict::kRight);
  EXPECT_EQ(check_countdown("(25 \xE2\x88\x92 5) \xC3\x97 4", {4, 5, 25}, 80), Verdict::kRight);
  EXPECT_EQ(check_countdown("8/(3-8/3)", {3, 3, 8, 8}, 24), Verdict::kRight);  // needs exact fractions
  EXPECT_EQ(check_countdown("$6 \\div 3$", {6, 3}, 2), Verdict::kRight);
  EXPECT_EQ(check_countdown("10-2-3", {10, 2, 3}, 5), Verdict::kRight);  // from the left
  EXPECT_EQ(check_countdown("12/2/3", {12, 2, 3}, 2), Verdict::kRight);
  EXPECT_EQ(check_countdown("2+3*4", {2, 3, 4}, 14), Verdict::kRight);
  EXPECT_EQ(check_countdown("-3+5", {3, 5}, 2), Verdict::kRight);
  EXPECT_EQ(check_countdown("9", {9, 4}, 9, /*use_all=*/false), Verdict::kRight);
  EXPECT_EQ(check_countdown("3-10", {10, 3}, -7), Verdict::kRight);
}

TEST(Countdown, WrongNumbersOrValues) {
  EXPECT_EQ(check_countdown("(25 - 5) * 4", {4, 5, 25}, 81), Verdict::kWrong);
  EXPECT_EQ(check_countdown("(25-5)*4 = 81", {4, 5, 25}, 80), Verdict::kWrong);
  EXPECT_EQ(check_countdown("20*4", {4, 5, 25}, 80), Verdict::kWrong);
  EXPECT_EQ(check_countdown("40+40", {40}, 80), Verdict::kWrong);
  EXPECT_EQ(check_countdown("9", {9, 4}, 9), Verdict::kWrong);
  EXPECT_EQ(check_countdown("9+9", {9, 4}, 18, /*use_all=*/false), Verdict::kWrong);
  EXPECT_EQ(check_countdown("80", {4, 5, 25}, 80), Verdict::kWrong);
  EXPECT_EQ(check_countdown("5/(4-4)", {5, 4, 4}, 5), Verdict::kWrong);
  EXPECT_EQ(check_countdown("5/0", {5, 0}, 0), Verdict::kWrong);
  EXPECT_EQ(check_countdown("0/(1-1)", {0, 1, 1}, 0), Verdict::kWrong);
}

TEST(Countdown, UnreadableAnswers) {
  const std::string deep_open(100, '('), deep_close(100, ')'), minuses(200, '-');
  for (const std::string& text :
       {std::string(), std::string("()"), std::string("5+"), std::string("(5"), std::string("5)"),
        std::string("2(3)"), std::string("5 5"), std::string("five"), std::string("5=5=5"),
        std::string("5=x"), std::string("1.5"), std::string("2^3"), std::string("="),
        deep_open + "5" + deep_close, minuses + "5", std::string(2000, '9')}) {
    EXPECT_EQ(check_countdown(text, {5}, 5), Verdict::kAnswerUnreadable) << text.substr(0, 20);
  }
}

}  // namespace
}  // namespace r1
