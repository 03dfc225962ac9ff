#include "r1/reward/maths.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "r1/reward/reward.h"

namespace r1 {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;  // gold, answer

void expect(Verdict verdict, const Pairs& pairs) {
  for (const auto& [gold, answer] : pairs) {
    const Verdict got = compare_maths(answer, gold, /*deadline_s=*/5);
    EXPECT_EQ(got, verdict) << "gold " << gold << ", answer " << answer << ": " << verdict_name(got);
  }
}

TEST(Maths, NumbersAreExact) {
  expect(Verdict::kRight, {{"5", "5.0"},
                           {"1000000", "1,\\!000{,}000"},
                           {"3\\frac{1}{2}", "3 1/2"},
                           {"\\frac12", ".5"},
                           {"-\\frac{45}{2}", "\\frac{45}{-2}"},
                           {"1/3", "0.\\overline{3}"},
                           {"0.1\\overline{6}", "1/6"},
                           {"1500", "1.5 \\times 10^3"},
                           {"0.0015", "1.5e-3"},
                           {"2^{100}", "1267650600228229401496703205376"},
                           {"\\binom{10}{3}", "120"},
                           {"10!", "3628800"},
                           {"\\frac{1}{29,322,216}", "1/29322216"}});
  expect(Verdict::kWrong, {{"5", "6"},
                           {"2^{100}", "1267650600228229401496703205377"},
                           {"2^{4950}", "2^{4951}"},
                           {"9007199254740993", "9007199254740992"},
                           {"3\\frac{1}{2}", "\\frac{3}{2}"},
                           {"3(1/2)", "3.5"},
                           {"1 1/2", "11/2"},
                           {"\\binom{10}{3}", "121"}});
}

TEST(Maths, DecimalsCountSixPlacesAndThreeDigits) {
  expect(Verdict::kRight, {{"\\frac{1}{3}", "0.333333"}, {"\\pi", "3.141593"}, {"1.414214", "\\sqrt{2}"}});
  expect(Verdict::kWrong, {{"\\frac{1}{3}", "0.33333"}, {"\\pi", "3.14159"}, {"0.0000001", "0.0000002"}});
}

TEST(Maths, PercentUnitsDegreesMoney) {
  expect(Verdict::kRight, {{"50\\%", "50"},
                           {"50\\%", "1/2"},
                           {"0.5", "50 percent"},
                           {"12.5\\%", "12.5"},
                           {"\\$1,234.50", "1234.5"},
                           {"5 \\text{ cm}", "5"},
                           {"5", "5 \\mathrm{~cm}^2"},
                           {"60", "60 km/h"},
                           {"5", "5 m"},
                           {"12\\sqrt{13}\\text{ feet}", "12\\sqrt{13}"},
                           {"90^\\circ", "90 degrees"},
                           {"5000000", "5 million"}});
  expect(Verdict::kWrong,
         {{"50\\%", "5"}, {"18", "18 million"}, {"2s", "2"}, {"5", "5x"}, {"90^\\circ", "\\frac{\\pi}{2}"}});
}

TEST(Maths, IrrationalValues) {
  expect(Verdict::kRight, {{"\\sqrt{8}", "2\\sqrt2"},
                           {"\\sqrt{2}+\\sqrt{3}", "\\sqrt{5+2\\sqrt{6}}"},
                           {"\\sqrt[3]{-8}", "-2"},
                           {"\\sqrt[3]{54}", "3\\sqrt[3]{2}"},
                           {"3\\pi", "3\xCF\x80"},
                           {"\\ln 8", "3 \\ln 2"},
                           {"\\log_2 8", "3"},
                           {"\\log 100", "2"},
                           {"\\sin 30^\\circ", "\\frac12"},
                           {"\\sin^{-1} 1", "\\frac{\\pi}{2}"},
                           {"e^{i\\pi}", "-1"},
                           {"(1+i)^2", "2i"},
                           {"|3+4i|", "5"}});
  expect(Verdict::kWrong, {{"2\\sqrt{3}", "\\sqrt{13}"},
                           {"\\sqrt{2}+\\sqrt{3}", "\\sqrt{10}"},
                           {"\\ln 8", "2 \\ln 3"},
                           {"1+2i", "1-2i"}});
}

TEST(Maths, SymbolsStandForAnything) {
  expect(Verdict::kRight, {{"(x+1)^2", "x^2+2x+1"},
                           {"\\frac{x^2-1}{x-1}", "x+1"},
                           {"\\sin^2 x + \\cos^2 x", "1"},
                           {"\\sin 2x", "2 \\sin x \\cos x"},
                           {"\\frac{x}{2}", "0.5x"},
                           {"1/2x", "\\frac{1}{2x}"},
                           {"\\sqrt{x^2}", "|x|"},
                           {"2^{x+1}", "2 \\cdot 2^x"},
                           {"f(4-x)", "f(-x+4)"},
                           {"\\max(x,1)", "-\\min(-x,-1)"},
                           {"a_{n}", "a_n"}});
  expect(Verdict::kWrong, {{"(x+1)^2", "x^2+2x+2"},
                           {"\\sqrt{x^2}", "x"},
                           {"x", "y"},
                           {"x_1", "x_2"},
                           {"f(x)", "f(y)"},
                           {"f(4-x)", "4f-xf"},
                           {"\\ln x", "\\log x"}});
}

TEST(Maths, EquationsUpToAFactor) {
  expect(Verdict::kRight, {{"x=5", "5"},
                           {"5", "x=5"},
                           {"y=2x+1", "2x-y+1=0"},
                           {"x+y=5", "2x+2y=10"},
                           {"x = 2+3 = 5", "x=5"},
                           {"x=1, y=2", "y=2, x=1"},
                           {"(x,y)=(1,2)", "(1,2)"},
                           {"x \\in \\{1,2\\}", "\\{2,1\\}"},
                           {"x = \\pm 3", "3, -3"}});
  expect(
      Verdict::kWrong,
      {{"x=5", "y=5"}, {"x+y=5", "5"}, {"y=2x+1", "y=2x+2"}, {"x=1, y=2", "x=2, y=1"}, {"y=2x+1", "y=4x+2"}});
}

TEST(Maths, InequalitiesAndIntervals) {
  expect(Verdict::kRight,
         {{"x<2", "2>x"},
          {"2x<4", "x<2"},
          {"-x<2", "x>-2"},
          {"1 \\le x < 2", "[1,2)"},
          {"x>3", "(3,\\infty)"},
          {"x \\neq 2", "(-\\infty,2)\\cup(2,\\infty)"},
          {"(-\\infty,1)\\cup(1,\\infty)", "\\mathbb{R} \\setminus \\{1\\}"},
          {"[1,2)\\cup[2,3]", "[1,3]"},
          {"[0,2]\\cap[1,3]", "[1,2]"},
          {"[a+b,b]", "[b+a,b]"},
          {"\\left(-\\infty,\\sqrt{2}\\right]\\cup[3,4)", "[3,4)\\cup(-\\infty,\\frac{2}{\\sqrt2}]"}});
  expect(Verdict::kWrong, {{"x<2", "x \\le 2"},
                           {"x<2", "-x<-2"},
                           {"[1,2]", "[1,2)"},
                           {"[1,2]", "(1,2)"},
                           {"(1,2)\\cup(2,3)", "(1,3)"},
                           {"(-\\infty,3)", "(-\\infty,3]"},
                           {"[1,2)", "1 \\le x < 2"}});  // the gold answer says which form is asked for
}

TEST(Maths, SetsListsTuplesMatrices) {
  expect(Verdict::kRight,
         {{"1,2", "2, 1"},
          {"\\{1,2\\}", "2 \\text{ and } 1"},
          {"(1,2)", "1,2"},
          {"1,2,3", "(3,2,1)"},
          {"5", "\\{5\\}"},
          {"3,3", "3"},
          {"\\frac{1 \\pm \\sqrt{5}}{2}", "\\frac{1-\\sqrt{5}}{2}, \\frac{1+\\sqrt{5}}{2}"},
          {"(-4,27);(2,15)", "(2,15),(-4,27)"},
          {"\\begin{pmatrix} 1/2 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix}0.5\\\\(2)\\end{bmatrix}"},
          {"\\frac12\\begin{pmatrix} 2 & x \\end{pmatrix}", "\\begin{pmatrix} 1 & x/2 \\end{pmatrix}"}});
  expect(Verdict::kWrong,
         {{"(1,2)", "(2,1)"},
          {"(1,2,3)", "3,2,1"},
          {"1,2", "1,2,3"},
          {"1,2", "1"},
          {"\\pm 3", "3"},
          {"\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"},
          {"\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "(1,2)"}});
}

TEST(Maths, ChoicesWordsBases) {
  expect(Verdict::kRight, {{"\\text{(C)}", "C"},
                           {"C", "\\textbf{(C)}"},
                           {"\\text{even}", "Even"},
                           {"\\text{A, B}", "B,A"},
                           {"\\text{October 30}", "october 30"},
                           {"4\\!:\\!51 \\text{ p.m.}", "4:51 p.m."},
                           {"1011_2", "1011_{2}"},
                           {"1011_2", "1011"}});
  expect(Verdict::kWrong, {{"\\text{(C)}", "D"},
                           {"\\text{even}", "odd"},
                           {"\\text{CBAD}", "ABCD"},
                           {"\\text{October 30}", "October 31"},
                           {"1011_2", "1011_3"},
                           {"1011_2", "11"}});
}

TEST(Maths, WhatCannotBeReadIsItsOwnVerdict) {
  for (const std::string text :
       {"", " $ ", "\\frac{1}{", "1/0", "\\sqrt", "\\frac{1}{2-2}", "\\sum_{n=1}^3 n", "x^"}) {
    EXPECT_EQ(compare_maths("5", text), Verdict::kGoldUnreadable) << text;
    EXPECT_EQ(compare_maths(text, "5"), Verdict::kAnswerUnreadable) << text;
  }
  const std::string deep(200, '('), close(200, ')');
  EXPECT_EQ(compare_maths("5", deep + "x" + close + "^2"), Verdict::kGoldUnreadable);
  EXPECT_EQ(compare_maths(std::string(20'000, '7'), "5"), Verdict::kAnswerUnreadable);
}

TEST(Maths, TooLargeToTellTimesOutInTime) {
  for (const std::string text : {"9^{9^{9^{9}}}", "9^9^9^9^9", "((((9!)!)!)!)!", "\\sin(10^{10^{10}})",
                                 "2^{2^{100}}", "(x+1)^{10^{20}}", "\\log(\\log(10^{10^{10^{10}}}))",
                                 "1e99999e99999", "\\binom{10^{18}}{10^{17}}", "\\tan(9^{9^9})"}) {
    const std::clock_t start = std::clock();  // CPU time: other programs may take the machine away
    EXPECT_NE(compare_maths(text, "5"), Verdict::kRight) << text;
    EXPECT_NE(compare_maths("\\pi + 1", text), Verdict::kRight) << text;
    EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC / 2) << text;
  }
  EXPECT_EQ(compare_maths("9^{9^{9^{9}}} + 1", "9^{9^{9^{9}}}"), Verdict::kTimedOut);
  EXPECT_EQ(compare_maths("2^{2^{100}} + 1", "2^{2^{100}}"), Verdict::kTimedOut);  // too large to see the 1
  EXPECT_EQ(compare_maths("2^{2^{100}}", "2^{2^{100}}"), Verdict::kRight);
  EXPECT_STREQ(verdict_name(Verdict::kTimedOut), "timed_out");
}

TEST(Maths, IsAPartOfTheReward) {
  const Reward reward(RewardConfig::parse(ConfigNode::parse_text(
      "parts: {accuracy: {kind: exact_answer, extract: boxed, compare: maths}}", "test.yaml")));
  EXPECT_EQ(reward.score({"", "so \\boxed{2\\sqrt{3}}", "\\sqrt{12}", {}}).total, 1.0);
  EXPECT_EQ(reward.score({"", "so \\boxed{2\\sqrt{3}}", "\\sqrt{13}", {}}).total, 0.0);
  EXPECT_EQ(reward.score({"", "no box", "\\sqrt{13}", {}}).verdict, Verdict::kAnswerUnreadable);
  EXPECT_EQ(reward.score({"", "\\boxed{1}", "\\frac{1}{", {}}).verdict, Verdict::kGoldUnreadable);
}

}  // namespace
}  // namespace r1
