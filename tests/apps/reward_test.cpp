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
)");
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto rows = rows_of(r.out);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0]["verdict"], "right");
  EXPECT_EQ(rows[0]["reward"], 1.2);
  EXPECT_EQ(rows[0]["rewards"], (nlohmann::json{{"accuracy", 1.0}, {"format", 1.0}}));
  EXPECT_EQ(rows[0]["extracted"], "19");
  EXPECT_GE(rows[0]["microseconds"].get<double>(), 0);
  EXPECT_EQ(rows[1]["verdict"], "right");
  EXPECT_EQ(rows[2]["verdict"], "gold_unreadable");
  EXPECT_TRUE(rows[2]["reward"].is_null());
  EXPECT_EQ(rows[3]["verdict"], "right");
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
  expect(R"({"gold":"1","completion":"1","kind":"maths"})", "accepted: countdown, exact_answer, format");
  expect(R"({"gold":"1","completion":"1","kin":"format"})", "kind");
}

}  // namespace
}  // namespace r1::apps
