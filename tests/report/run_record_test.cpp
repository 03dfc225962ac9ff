#include "r1/report/run_record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <cmath>

#include "run_folder.h"

namespace r1::report {
namespace {

using r1::testing_support::error_of;
using testing_support::kConfig;
using testing_support::row;
using testing_support::TempFolder;

TEST(ReadRun, ReadsARunThatHasOnlyBegun) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  const auto run = read_run(folder.path());
  EXPECT_EQ(run.name, "small");
  ASSERT_EQ(run.stages.size(), 2U);
  for (const auto& stage : run.stages) {
    EXPECT_EQ(stage.state, StageState::kWaiting);
    EXPECT_EQ(stage.steps_done, 0);
    EXPECT_TRUE(stage.series.empty());
  }
  EXPECT_EQ(run.stages[1].steps_total, 40);
  EXPECT_EQ(run.answer_part(), "accuracy");
  EXPECT_EQ(run.format_parts(), std::vector<std::string>{"format"});
  EXPECT_EQ(run.written_s, 0);
  EXPECT_FALSE(run.has_ledger);
  EXPECT_TRUE(run.notes.empty());
}

TEST(ReadRun, LeavesOutHalfALastLineOfARunThatGoesOn) {
  const std::string rows = row(1, {{"reward", 0.5}}) + row(2, {{"reward", 0.6}});
  // Whatever byte the writer has come to, the rows before are read.
  for (size_t bytes = 0; bytes <= rows.size(); ++bytes) {
    TempFolder folder;
    folder.write("config.yaml", kConfig);
    folder.write("metrics.jsonl", rows.substr(0, bytes));
    const auto run = read_run(folder.path());
    const auto& series = run.stages[1].find("reward");
    const size_t first = rows.find('\n');
    const size_t whole = (bytes >= first ? 1U : 0U) + (bytes + 1 >= rows.size() ? 1U : 0U);
    EXPECT_EQ(series.size(), whole) << bytes;
    const bool half = bytes != 0 && bytes != first && bytes != first + 1 && bytes + 1 < rows.size();
    EXPECT_EQ(run.notes.size(), half ? 1U : 0U) << bytes;
  }
}

TEST(ReadRun, NamesABrokenLine) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  folder.write("metrics.jsonl", row(1, {{"reward", 0.5}}) + "{\"stage\": \"ze\n" + row(3, {{"reward", 0.5}}));
  const auto text = error_of([&] { read_run(folder.path()); });
  EXPECT_HOLDS(text, "metrics.jsonl:2: no JSON object: \"{\\\"stage\\\": \\\"ze\"");
  EXPECT_HOLDS(text, "accepted: one JSON object per line");
  folder.write("metrics.jsonl", row(1, {{"reward", 0.5}}) + "{\"stage\": \"zero\", \"reward\": 1}\n");
  EXPECT_HOLDS(error_of([&] { read_run(folder.path()); }), "metrics.jsonl:2: a row without a step");
  folder.write("metrics.jsonl", "");
  folder.write("ledger.jsonl", "[]\n");
  EXPECT_HOLDS(error_of([&] { read_run(folder.path()); }), "ledger.jsonl:1: no JSON object: \"[]\"");
}

TEST(ReadRun, RefusesWhatIsNoRunDirectory) {
  TempFolder folder;
  EXPECT_HOLDS(error_of([&] { read_run(folder / "nowhere"); }),
               "nowhere: no run directory (it does not exist); accepted: a folder with config.yaml");
  EXPECT_HOLDS(error_of([&] { read_run(folder.path()); }), "no run directory (it has no config.yaml)");
  folder.write("config.yaml", "pipeline: [\n");
  EXPECT_HOLDS(error_of([&] { read_run(folder.path()); }), "config.yaml:");
}

TEST(ReadRun, ReadsNumbersThatJsonLacks) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  folder.write("metrics.jsonl", row(1, {{"loss", "NaN"}}) + row(2, {{"loss", "-Infinity"}}) +
                                    row(3, {{"loss", "words"}, {"kl", nullptr}}));
  const auto run = read_run(folder.path());
  const auto& loss = run.stages[1].find("loss");
  ASSERT_EQ(loss.size(), 2U);
  EXPECT_TRUE(std::isnan(loss.values[0]));
  EXPECT_EQ(loss.values[1], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(run.stages[1].find("kl").size(), 0U);
}

TEST(ReadRun, TellsTheStateOfEachStage) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  folder.write("metrics.jsonl", row(20, {{"loss", 1}}, "base_model") + row(7, {{"reward", 0.5}}) +
                                    row(9, {{"reward", 1}}, "gone"));
  folder.write("stages/base_model.json", "{\"steps\": 20, \"seconds\": 12.5, \"trained_tokens\": 99}");
  const auto lock = folder.write("lock", "");
  auto run = read_run(folder.path());
  EXPECT_EQ(run.stages[0].state, StageState::kFinished);
  EXPECT_EQ(run.stages[0].cost.wall_seconds, 12.5);
  EXPECT_EQ(run.stages[0].cost.trained_tokens, 99);
  EXPECT_EQ(run.stages[1].state, StageState::kStopped);
  EXPECT_EQ(run.stages[1].steps_done, 7);
  ASSERT_EQ(run.notes.size(), 1U);
  EXPECT_HOLDS(run.notes[0], "gone");
  const int holder = ::open(lock.c_str(), O_RDWR);
  ASSERT_EQ(::flock(holder, LOCK_EX), 0);
  run = read_run(folder.path());
  EXPECT_TRUE(run.locked);
  EXPECT_EQ(run.stages[1].state, StageState::kRunning);
  // Looking does not take the lock.
  ::flock(holder, LOCK_UN);
  EXPECT_EQ(::flock(holder, LOCK_EX | LOCK_NB), 0);
  ::close(holder);
}

TEST(ReadRun, SumsTheLedgerOverStarts) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  folder.write("metrics.jsonl", row(7, {{"rollout_seconds", 1000}}));
  folder.write("ledger.jsonl",
               "{\"stage\":\"zero\",\"session\":1,\"seconds\":{\"rollout\":1.5,\"update\":2},\"devices\":2,"
               "\"tokens_in\":10,\"tokens_out\":20,"
               "\"trained_tokens\":5,\"flops\":1e9,\"joules\":7,\"joules_source\":\"rapl\"}\n"
               "{\"stage\":\"zero\",\"session\":2,\"seconds\":{\"rollout\":0.5},\"devices\":1,\"joules\":3,"
               "\"joules_source\":\"assumed\",\"lost\":true}\n"
               "{\"stage\":\"other\",\"seconds\":{\"load\":1}}\n{\"stage\":\"zero\",\"sec");
  const auto run = read_run(folder.path());
  EXPECT_TRUE(run.has_ledger);
  const auto& cost = run.stages[1].cost;
  EXPECT_EQ(cost.seconds, (std::map<std::string, double>{{"rollout", 2}, {"update", 2}}));
  EXPECT_EQ(cost.wall_seconds, 4);
  EXPECT_EQ(cost.device_seconds, 7.5);
  EXPECT_EQ(cost.lost_seconds, 0.5);
  EXPECT_EQ(cost.tokens_in, 10);
  EXPECT_EQ(cost.tokens_out, 20);
  EXPECT_EQ(cost.flops, 1e9);
  EXPECT_EQ(cost.joules, 10);
  EXPECT_EQ(cost.joules_source, "assumed + rapl");
  EXPECT_EQ(run.notes.size(), 2U);  // half a line, and a stage that the config does not have
}

TEST(ReadRun, CountsTheLogsWarnings) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  std::string log;
  for (int i = 0; i < 300; ++i)
    log += "2026-11-23 22:14:18 " + std::string(i % 100 == 0 ? "warning" : "info") + " line " +
           std::to_string(i) + "\n";
  folder.write("log.txt", log + "short\n2026-11-23 22:14:18 error it burns\nhalf a li");
  const auto run = read_run(folder.path());
  EXPECT_EQ(run.log_warnings, 3);
  EXPECT_EQ(run.log_errors, 1);
  EXPECT_EQ(run.log_tail.size(), 200U);
  EXPECT_EQ(run.log_tail.back(), "half a li");
}

}  // namespace
}  // namespace r1::report
