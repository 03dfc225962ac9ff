// `r1 report` as a process: what it prints and writes, and what it refuses.
#include <gtest/gtest.h>

#include <filesystem>

#include "process.h"
#include "util/temp_folder.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;
using r1::testing_support::slurp;
using r1::testing_support::TempFolder;
using testing_support::run_r1;

const char* const kConfig =
    "name: small\nreward: {parts: {accuracy: {kind: exact_answer}}}\npipeline: [{name: rl, kind: grpo, "
    "steps: 4}]\n";

TEST(Report, WritesThePageAndPrintsTheTable) {
  TempFolder folder;
  folder.write("a/config.yaml", kConfig);
  folder.write(
      "a/metrics.jsonl",
      "{\"stage\":\"rl\",\"step\":0,\"eval_accuracy\":0.25,\"eval_problems\":100}\n"
      "{\"stage\":\"rl\",\"step\":4,\"reward\":0.5,\"reward_accuracy\":0.5,\"logprob_error_max\":1e-6}\n"
      "{\"stage\":\"rl\",\"step\":4,\"eval_accuracy\":0.75,\"eval_problems\":100}\n{\"stage\":\"rl\",\"st");
  const auto one = run_r1({"report", folder / "a"});
  EXPECT_EQ(one.exit_code, 0) << one.err;
  for (const char* part : {"run small", "25.0 % [17.5, 34.3]", "75.0 % [65.7, 82.5]",
                           "ALARM rl, steps 4 to 4: mismatch", "half a line", "a/report.html"}) {
    EXPECT_HOLDS(one.out, part);
  }
  EXPECT_EQ(slurp(folder / "a/report.html").substr(0, 15), "<!DOCTYPE html>");
  folder.write("b/config.yaml", kConfig);
  const auto two = run_r1({"report", folder / "a", folder / "b", "--out", folder / "both.html"});
  EXPECT_EQ(two.exit_code, 0) << two.err;
  EXPECT_HOLDS(two.out, "no figures yet");
  EXPECT_TRUE(fs::exists(folder / "both.html"));
}

TEST(Report, RefusesWhatItCannotRead) {
  TempFolder folder;
  folder.write("empty/readme", "");
  folder.write("broken/config.yaml", kConfig);
  folder.write("broken/metrics.jsonl", "{\"stage\":\"rl\",\"step\":1}\nnot json\n{}\n");
  folder.write("whole/config.yaml", kConfig);
  struct Row {
    std::vector<std::string> arguments;
    int exit_code;
    std::string says;
  };
  const std::vector<Row> rows = {
      {{"report"}, 2, "run_dir is required"},
      {{"report", "a", "b", "c"}, 2, "one argument too many: 'c'"},
      {{"report", folder / "nothing"}, 1, "no run directory (it does not exist)"},
      {{"report", folder / "empty"}, 1, "no run directory (it has no config.yaml)"},
      {{"report", folder / "whole", folder / "empty"}, 1, "empty: no run directory"},
      {{"report", folder / "broken"}, 1, "metrics.jsonl:2: no JSON object: \"not json\""},
      {{"report", folder / "whole", "--out", "/proc/report.html"}, 1, "/proc/report.html"},
  };
  for (const auto& row : rows) {
    const auto r = run_r1(row.arguments);
    EXPECT_EQ(r.exit_code, row.exit_code) << row.says;
    EXPECT_HOLDS(r.err, row.says);
    EXPECT_EQ(r.out, "");
  }
  EXPECT_FALSE(fs::exists(folder / "broken/report.html"));
}

}  // namespace
}  // namespace r1::apps
