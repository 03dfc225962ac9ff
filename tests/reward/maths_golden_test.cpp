// The maths verifier beside the PyPI package math-verify: equal on every pair of the golden but those listed
// here.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "r1/reward/maths.h"
#include "r1/util/jsonl.h"

namespace r1 {
namespace {

struct Difference {
  std::string gold, answer;
  bool ours;  ///< right or not; math-verify says the other
  const char* reason;
};

// Why ours is held to be right.
constexpr const char* kBase = "digits in another base are another number; math-verify leaves the base out";
constexpr const char* kRepeating = "a bar over decimals repeats them; math-verify cannot read it";
constexpr const char* kScientific = "1.5e3 is 1500; math-verify reads a product with e";
constexpr const char* kDegrees =
    "inside a trigonometric function a degree sign means degrees; math-verify takes radians";
constexpr const char* kUnicode = "signs that are not ASCII mean what they show; math-verify cannot read them";
constexpr const char* kImaginary =
    "i is the imaginary unit; math-verify takes it for a symbol, or does not evaluate it";
constexpr const char* kUnits = "a unit that math-verify does not know, and multiplies as letters";
constexpr const char* kFunctionValue = "f(4-x) is a value of f; math-verify reads a product";
constexpr const char* kMillion = "a million is a factor; math-verify drops it as a unit";
constexpr const char* kDot = "a dot ends the sentence; math-verify cannot read it";
constexpr const char* kMixed = "3 1/2 is a mixed number; math-verify reads (3 + 1) / 2";
constexpr const char* kSymbols = "2s and 2ab are products; math-verify drops s and ab as units";
constexpr const char* kSmall =
    "six decimals do not tell small numbers apart; three digits have to agree as well";
constexpr const char* kPercent = "the sign may be left out in 12.5% as it may in 12%";
constexpr const char* kRealRoot =
    "the odd root of a negative number is real; math-verify takes a complex one";
constexpr const char* kSpelling = "the way models and people write it in plain text";
constexpr const char* kText =
    "the same words; math-verify reads a product, a number or nothing where \\text is left out or in";
constexpr const char* kEquationValue = "a value is not an equation in two symbols";
constexpr const char* kConstantEquation = "both sides are the value asked for";
constexpr const char* kInequality = "the same solutions; math-verify does not find them equal";
constexpr const char* kSets = "the same points; math-verify does not intersect, and cannot read \\langle";
constexpr const char* kBothSigns = "+- inside a fraction stands for two values; math-verify cannot read it";

const std::vector<Difference> kDifferences = {
    {"-5", "\\text{-}5", true, kText},
    {"3\\frac{1}{2}", "3 1/2", true, kMixed},
    {"0.\\overline{3}", "\\frac{1}{3}", true, kRepeating},
    {"0.1\\overline{6}", "\\frac{1}{6}", true, kRepeating},
    {"\\frac{1}{3}", "0.\\overline{3}", true, kRepeating},
    {"1500", "1.5e3", true, kScientific},
    {"0.0015", "1.5e-3", true, kScientific},
    {"0.0000001", "0.0000002", false, kSmall},
    {"12.5\\%", "12.5", true, kPercent},
    {"18", "18 dollars", true, kUnits},
    {"60", "60 miles per hour", true, kUnits},
    {"60", "60 km/h", true, kUnits},
    {"90^{\\circ}", "90°", true, kUnicode},
    {"2s", "2", false, kSymbols},
    {"5 \\text{ million}", "5000000", true, kMillion},
    {"\\sqrt[3]{-8}", "-2", true, kRealRoot},
    {"3\\pi", "3pi", true, kSpelling},
    {"\\sin 30^\\circ", "\\frac{1}{2}", true, kDegrees},
    {"\\tan 45^\\circ", "1", true, kDegrees},
    {"\\cos 60^\\circ", "0.5", true, kDegrees},
    {"\\sqrt(2)", "\\sqrt{2}", true, kSpelling},
    {"f(4-x)", "4f - xf", false, kFunctionValue},
    {"2ab", "2ba", true, kSymbols},
    {"(1+i)^2", "2i", true, kImaginary},
    {"\\sqrt{-1}", "i", true, kImaginary},
    {"\\frac{1}{i}", "-i", true, kImaginary},
    {"|3+4i|", "5", true, kImaginary},
    {"e^{i\\pi}", "-1", true, kImaginary},
    {"x+y=5", "5", false, kEquationValue},
    {"0.56 = 56\\%", "0.56", true, kConstantEquation},
    {"2x<4", "x<2", true, kInequality},
    {"1<x<2", "2>x>1", true, kInequality},
    {"(-\\infty, 3)", "(-∞, 3)", true, kUnicode},
    {"[0,2]\\cap[1,3]", "[1,2]", true, kSets},
    {"\\frac{1 \\pm \\sqrt{5}}{2}", "\\frac{1+\\sqrt{5}}{2}, \\frac{1-\\sqrt{5}}{2}", true, kBothSigns},
    {"\\langle 1,2,3 \\rangle", "(1,2,3)", true, kSets},
    {"\\text{A,B}", "B, A", true, kText},
    {"\\text{October 30}", "October 30", true, kText},
    {"4\\!:\\!51 \\text{ p.m.}", "4:51 p.m.", true, kText},
    {"1011_2", "1011_3", false, kBase},
    {"\\text{A5}_{11}", "A5_{11}", true, kText},
    {"5", "5.", true, kDot},
    {"x^2", "x**2", true, kSpelling},
    {"6", "2·3", true, kUnicode},
    {"½", "0.5", true, kUnicode},
    {"x²", "x^2", true, kUnicode},
    {"√2", "\\sqrt{2}", true, kUnicode},
    {"10001_2", "10001_3", false, kBase},
    {"11011100_2", "11011100_3", false, kBase},
    {"1103_6", "1103_7", false, kBase},
    {"1121_4", "1121_5", false, kBase},
    {"1242_6", "1242_7", false, kBase},
    {"1_7", "1_8", false, kBase},
    {"3120_4", "3120_5", false, kBase},
    {"f(4 - x)", "- f x + 4 f", false, kFunctionValue},
    {"f(4 - x)", "- f \\left(x - 4\\right)", false, kFunctionValue},
};

TEST(MathsGolden, AgreesWithMathVerifyButForTheListedDifferences) {
  std::map<std::pair<std::string, std::string>, const Difference*> listed;
  for (const auto& difference : kDifferences) listed[{difference.gold, difference.answer}] = &difference;
  int64_t pairs = 0;
  read_jsonl(std::string(R1_SOURCE_DIR) + "/tests/golden/maths/pairs.jsonl", [&](int64_t line,
                                                                                 const nlohmann::json& row) {
    if (!row.contains("gold")) return;  // the versions
    ++pairs;
    const std::string gold = row["gold"], answer = row["answer"];
    const Verdict verdict = compare_maths(answer, gold, /*deadline_s=*/5);
    const bool theirs = row["math_verify"];
    const auto difference = listed.find({gold, answer});
    const bool wanted = difference != listed.end() ? difference->second->ours : theirs;
    EXPECT_EQ(verdict == Verdict::kRight, wanted) << line << ": " << row["kind"] << ", gold " << gold
                                                  << ", answer " << answer << ": " << verdict_name(verdict);
    if (difference == listed.end()) return;
    EXPECT_NE(theirs, difference->second->ours)
        << gold << " || " << answer << " is no difference any more: " << difference->second->reason;
    listed.erase(difference);
  });
  EXPECT_GE(pairs, 500);
  for (const auto& [pair, difference] : listed)
    ADD_FAILURE() << "not in the golden: " << pair.first << " || " << pair.second;
}

}  // namespace
}  // namespace r1
