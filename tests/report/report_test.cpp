#include "r1/report/report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "run_folder.h"

namespace r1::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using r1::testing_support::error_of;
using r1::testing_support::slurp;
using testing_support::completion;
using testing_support::kConfig;
using testing_support::row;
using testing_support::TempFolder;
using testing_support::write_rollout;

// What the page's scripts get.
json data_of(const fs::path& html) {
  const auto page = slurp(html);
  const std::string open = "<script type=\"application/json\" id=\"report-data\">";
  const size_t begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

void write_small_run(const TempFolder& folder) {
  folder.write("config.yaml", kConfig);
  std::string rows = row(0, {{"eval_accuracy", 0.4},
                             {"eval_problems", 100},
                             {"eval_reward_accuracy", 0.4},
                             {"eval_reward_format", 0.5},
                             {"eval_tokens_mean", 31}});
  for (int step = 1; step <= 40; ++step) {
    rows += row(step, {{"reward", 0.5 + step * 0.01},
                       {"reward_accuracy", 0.4 + step * 0.01},
                       {"reward_format", 0.9},
                       {"rollout_seconds", 2},
                       {"generated_tokens", 50}});
  }
  rows += row(40, {{"eval_accuracy", 0.8},
                   {"eval_problems", 100},
                   {"eval_reward_accuracy", 0.8},
                   {"eval_reward_format", 1},
                   {"eval_tokens_mean", 47.5}});
  folder.write("metrics.jsonl", rows);
  folder.write("run.json",
               R"({"starts": [{"time": "2026-01-01T00:00:00Z", "command": "r1 run x.yaml", "threads": 2}]})");
  write_rollout(folder, "zero", 1,
                {completion(1, 0, "</script><b>bold</b>", "wrong"), completion(1, 1, "wait", "right")});
}

TEST(Report, WritesOnePageWithAllThatWasRead) {
  TempFolder folder;
  write_small_run(folder);
  const auto written = write_report({folder.path()});
  EXPECT_EQ(written.html, folder / "report.html");
  EXPECT_EQ(written.bytes, fs::file_size(written.html));
  const auto data = data_of(written.html);
  const auto& run = data["runs"].at(0);
  const auto& stage = run["stages"].at(1);
  EXPECT_EQ(stage["series"]["reward"]["v"].size(), 40U);
  EXPECT_EQ(stage["evaluations"].size(), 2U);
  EXPECT_EQ(stage["evaluations"][1]["accuracy"], 0.8);
  EXPECT_NEAR(stage["evaluations"][1]["low"].get<double>(), 0.711, 0.001);
  EXPECT_EQ(stage["cost"]["seconds"]["rollout"], 80);
  EXPECT_EQ(stage["series"]["text_reflective_words"]["v"], json::array({0.5}));
  EXPECT_EQ(run["samples"][0]["groups"][0]["completions"][0]["text"], "</script><b>bold</b>");
  EXPECT_HOLDS(written.table, "run small");
  EXPECT_HOLDS(written.table, "40.0 % [30.9, 49.8]");
  EXPECT_HOLDS(written.table, "80.0 % [71.1, 86.7]");
  EXPECT_HOLDS(written.table, "no alarms");
}

TEST(Report, OfARunWithoutFiguresSaysSo) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  const auto written = write_report({folder.path()});
  EXPECT_HOLDS(written.table, "no figures yet");
  EXPECT_EQ(data_of(written.html)["runs"][0]["stages"][0]["state"], "waiting");
}

TEST(Report, PutsTwoRunsIntoOnePage) {
  TempFolder a, b;
  write_small_run(a);
  write_small_run(b);
  const json costs = json::array({nullptr, {{"stages", {{"zero", "$1"}}}}});
  const auto written = write_report({a.path(), b.path()}, costs);
  EXPECT_EQ(written.html.parent_path(), a.path());
  EXPECT_EQ(written.html.filename(), "report_vs_" + b.path().filename().string() + ".html");
  const auto data = data_of(written.html);
  ASSERT_EQ(data["runs"].size(), 2U);
  EXPECT_TRUE(data["runs"][0]["costs"].is_null());
  EXPECT_EQ(data["runs"][1]["costs"]["stages"]["zero"], "$1");
  EXPECT_EQ(error_of([&] { write_report({}); }), "a report of 0 runs; accepted: 1 or 2");
}

TEST(Report, GoesWhereItIsToldAndLeavesAnOldOneWhenItCannot) {
  TempFolder folder;
  write_small_run(folder);
  EXPECT_EQ(write_report({folder.path()}, nullptr, folder / "x.html").html, folder / "x.html");
  EXPECT_FALSE(fs::exists(folder / "report.html"));
  EXPECT_HOLDS(error_of([&] { write_report({folder.path()}, nullptr, folder / "missing/x.html"); }),
               "missing/x.html");
  folder.write("metrics.jsonl", "broken\n{}\n");
  const auto before = slurp(folder / "x.html");
  EXPECT_HOLDS(error_of([&] { write_report({folder.path()}, nullptr, folder / "x.html"); }),
               "metrics.jsonl:1:");
  EXPECT_EQ(slurp(folder / "x.html"), before);
}

// Eleven stages of 10,400 steps with 24 figures, and long texts full of what JSON must escape: far beyond 5
// MB before thinning.
TEST(Report, StaysBelowItsLimitForALongRun) {
  TempFolder folder;
  std::string config = "name: long\nreward: {parts: {accuracy: {kind: exact_answer}}}\npipeline:\n", rows;
  for (int stage = 0; stage < 11; ++stage) {
    const auto name = "stage_" + std::to_string(stage);
    config += "  - {name: " + name + ", kind: grpo, steps: 10400}\n";
    for (int step = 1; step <= 10400; step += stage == 0 ? 1 : 26) {
      rows += "{\"stage\":\"" + name + "\",\"step\":" + std::to_string(step);
      for (int k = 0; k < 24; ++k)
        rows +=
            ",\"figure_" + std::to_string(k) + "\":" + std::to_string(std::sin(step * 0.1 + k) * 1.234567);
      rows += "}\n";
    }
    std::vector<json> texts;
    for (int s = 0; s < 16; ++s)
      texts.push_back(completion(1, s, std::string(20'000, s % 2 == 0 ? '<' : '\x01'), "wrong"));
    for (int step = 1; step <= 41; step += 10) write_rollout(folder, name, step, texts);
  }
  folder.write("config.yaml", config);
  folder.write("metrics.jsonl", rows);
  const auto written = write_report({folder.path(), folder.path()}, nullptr, folder / "two.html");
  EXPECT_LE(written.bytes, kMaxPageBytes);
  EXPECT_GT(written.bytes, kMaxPageBytes / 4);
  const auto data = data_of(written.html);
  EXPECT_FALSE(data["runs"][1]["samples"][10]["groups"].empty());
  const auto& curve = data["runs"][0]["stages"][0]["series"]["figure_3"];
  EXPECT_EQ(curve["of"], 10400);
  EXPECT_EQ(curve["s"].back(), 10400);
  double largest = -9;
  for (const auto& value : curve["v"]) largest = std::max(largest, value.get<double>());
  EXPECT_NEAR(largest, 1.234567, 1e-4);
}

}  // namespace
}  // namespace r1::report
