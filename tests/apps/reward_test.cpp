// r1 reward as a script sees it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

using r1::testing_support::TempFolder;
using testing_support::run_r1;

std::vector<nlohmann::json> rows_of(const std::string& text) {
  std::vector<nlohmann::json> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

TEST(RewardCommand, ScoresByKindAndByTheSectionOfAConfig) {
  const TempFolder folder;
  const auto config = folder.write("c.yaml", "reward:\n  parts:\n    accuracy: {kind: exact_answer}\n    format: {kind: format, weight: 0.2}\n");
  const auto r = run_r1({"reward", "--config", config},
                        R"({"gold":"19","completion":"<think> 12+7 </think> <answer> 19 </answer>"}
{"gold":"3/4","completion":"so \\boxed{0.75}","kind":"exact_answer"}
{"gold":"","completion":"<answer> 1 </answer>"}
{"completion":"<answer> (25-5)*4 </answer>","kind":"countdown","extra":{"numbers":[25,5,4],"target":80}}
{"gold":"x^2+2x+1","completion":"so \\boxed{(x+1)^2}","kind":"maths"}
{"gold":"x^2+2x+1","completion":"so \\boxed{(x+1)^2}","kind":"exact_answer"}
)");
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto rows = rows_of(r.out);
  ASSERT_EQ(rows.size(), 6u);
  EXPECT_EQ(rows[0]["verdict"], "right");
  EXPECT_EQ(rows[0]["reward"], 1.2);
  EXPECT_EQ(rows[0]["rewards"], (nlohmann::json{{"accuracy", 1.0}, {"format", 1.0}}));
  EXPECT_EQ(rows[0]["extracted"], "19");
  EXPECT_GE(rows[0]["microseconds"].get<double>(), 0);
  EXPECT_EQ(rows[1]["verdict"], "right");
  EXPECT_EQ(rows[2]["verdict"], "gold_unreadable");
  EXPECT_TRUE(rows[2]["reward"].is_null());
  EXPECT_EQ(rows[3]["verdict"], "right");
  EXPECT_EQ(rows[4]["verdict"], "right");
  EXPECT_EQ(rows[5]["verdict"], "wrong");  // as texts they differ
}

TEST(RewardCommand, RunsCodeAndMeasuresTexts) {
  const TempFolder folder;
  // unsandboxed: accepted only where the machine allows no sandbox.
  const auto config = folder.write("c.yaml",
                                   "reward:\n  parts:\n    tests: {kind: code, partial_credit: fraction, unsandboxed: true}\n"
                                   "    words: {kind: language, language: english, of: completion, weight: 0}\n");
  const auto r = run_r1({"reward", "--config", config},
                        R"({"completion":"This is it\n```python\nprint(int(input()) ** 2)\n```","extra":{"tests":[{"stdin":"3","stdout":"9"},{"stdin":"4","stdout":"16"}]}}
{"completion":"```python\nprint(9)\n```","extra":{"tests":[{"stdin":"3","stdout":"9"},{"stdin":"4","stdout":"16"}]}}
{"completion":"```python\ndef f(x): return x\n```","extra":{"asserts":["assert f(2) == 2","assert f(2) == 3"]}}
{"completion":"no code","extra":{"asserts":["assert f(2) == 2"]}}
{"completion":"```python\nprint(9)\n```"}
{"completion":"我们 go back the way","kind":"language","prompt":"How is it?"}
{"completion":"a b a b a b a b a b a b a b a b","kind":"repetition"}
)");
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto rows = rows_of(r.out);
  ASSERT_EQ(rows.size(), 7u);
  EXPECT_EQ(rows[0]["verdict"], "right");
  EXPECT_EQ(rows[0]["rewards"], (nlohmann::json{{"tests", 1.0}, {"words", 1.0}}));
  EXPECT_EQ(rows[0]["extracted"], "print(int(input()) ** 2)\n");
  EXPECT_EQ(rows[0]["answers"]["tests"]["verdict"], "right");
  EXPECT_EQ(rows[1]["verdict"], "wrong");
  EXPECT_EQ(rows[1]["reward"], 0.5);
  EXPECT_EQ(rows[2]["reward"], 0.5);
  EXPECT_EQ(rows[3]["verdict"], "answer_unreadable");
  EXPECT_EQ(rows[4]["verdict"], "gold_unreadable");
  EXPECT_NEAR(rows[5]["reward"].get<double>(), 4.0 / 6, 1e-12);
  EXPECT_NEAR(rows[6]["reward"].get<double>(), -(1 - 2.0 / 9), 1e-12);
}

TEST(RewardCommand, NamesTheLineOfAMistake) {
  const auto expect = [](const std::string& line, const std::string& part) {
    const auto r = run_r1({"reward"}, R"({"completion":"1","gold":"1","kind":"exact_answer"})" "\n" + line + "\n");
    EXPECT_EQ(r.exit_code, 1) << line;
    EXPECT_NE(r.err.find("stdin:2"), std::string::npos) << r.err;
    EXPECT_NE(r.err.find(part), std::string::npos) << r.err;
  };
  expect(R"({"gold":"1","kind":"exact_answer"})", "\"completion\" is missing");
  expect(R"({"gold":1,"completion":"1","kind":"exact_answer"})", "\"gold\" is a JSON number");
  expect(R"({"gold":"1","completion":"1"})", "\"kind\" is missing");
  expect(R"({"gold":"1","completion":"1","kind":"math"})", "accepted: code, countdown, exact_answer, format, language, maths, repetition");
  expect(R"({"gold":"1","completion":"1","kin":"format"})", "kind");
}

}  // namespace
}  // namespace r1::apps
