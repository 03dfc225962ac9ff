#include "r1/pipeline/run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "r1/model/weights.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "tiny_run.h"

namespace r1::pipeline {
namespace {

using test::contents_of;
using test::error_of;
using test::expect_text;
using test::Folder;
using test::rows_of;

RunConfig load(const Folder& folder, std::vector<std::string> overrides = {}) {
  overrides.push_back("run_dir=" + (folder / "run").string());
  return RunConfig::load(folder.config(), overrides);
}

/// The run's files without the record of starts, the log, and new event files, which every start adds to.
std::map<std::string, std::string> results_of(const std::filesystem::path& run_dir) {
  auto files = contents_of(run_dir);
  std::erase_if(files, [](const auto& file) { return file.first == "run.json" || file.first == "log.txt" || file.first == "ledger.jsonl" || file.first.starts_with("tb/"); });
  return files;
}

TEST(Run, MakesItsDirectoryAndResumesToNothingMore) {
  const Folder folder("run");
  const auto run_dir = folder / "run";
  run(load(folder), "r1 run tiny.yaml");
  for (const char* file : {"config.yaml", "run.json", "log.txt", "metrics.jsonl", "tb", "tokenizer/characters.json", "stages/pretrain.json",
                           "stages/zero.json", "rollouts/zero/step-000001.jsonl.zst", "rollouts/zero/step-000006.jsonl.zst",
                           "checkpoints/pretrain/step-000004/model.safetensors", "checkpoints/zero/step-000006/reference.safetensors",
                           "checkpoints/zero/latest/config.json"}) {
    EXPECT_TRUE(std::filesystem::exists(run_dir / file)) << file;
  }
  EXPECT_FALSE(std::filesystem::exists(run_dir / "checkpoints/zero/step-000002"));  // keep_last is 2
  EXPECT_EQ(model::open_weights(run_dir / "checkpoints/zero/latest")->config().hidden_size, 16);
  const auto rows = rows_of(run_dir);
  EXPECT_EQ(rows.size(), 4u + 6 + 3);  // and evaluations after 0, 3 and 6 updates
  for (const auto& row : rows) {
    if (row.contains("logprob_error_max")) {
      EXPECT_EQ(row.at("logprob_error_max"), 0.0) << row;
    }
  }
  const auto record = nlohmann::json::parse(read_file(run_dir / "run.json"));
  EXPECT_EQ(record.at("starts").at(0).at("command"), "r1 run tiny.yaml");

  // Once more into the same directory: refused, and nothing but this process's log changes.
  const auto before = results_of(run_dir);
  expect_text(error_of([&] { run(load(folder), "again"); }), {run_dir.string(), "exists", "r1 resume", "nothing was changed"});
  EXPECT_EQ(results_of(run_dir), before);

  // Resuming what is finished prints the table and changes no result.
  const auto results = results_of(run_dir);
  testing::internal::CaptureStdout();
  resume(run_dir, {}, false, "r1 resume");
  expect_text(testing::internal::GetCapturedStdout(), {"accuracy", "before", "after", "stage zero (grpo), 6 steps", "weights"});
  EXPECT_EQ(results_of(run_dir), results);

  // Changed keys: what alters no result is accepted, anything else is refused by name unless it is wanted.
  EXPECT_NO_THROW(resume(run_dir, {"checkpoint.keep_last=1", "pipeline.1.rollout.max_batch=3"}, false, ""));
  const auto refusal = error_of([&] {
    resume(run_dir, {"pipeline.1.group_size=8", "seed=6", "pipeline.1.micro_batch_tokens=64", "checkpoint.keep_last=3"}, false, "");
  });
  expect_text(refusal, {"pipeline.1.group_size: 4 -> 8", "seed: 5 -> 6", "pipeline.1.micro_batch_tokens: (absent) -> 64", "--allow-changes"});
  EXPECT_EQ(refusal.find("keep_last"), std::string::npos) << refusal;
  expect_text(refusal, {"runs again what depends on them: pretrain, zero"});

  // Another process holds the lock.
  const int lock = ::open((run_dir / "lock").c_str(), O_RDWR);
  ASSERT_GE(lock, 0);
  ASSERT_EQ(::flock(lock, LOCK_EX | LOCK_NB), 0);
  expect_text(error_of([&] { resume(run_dir, {}, false, ""); }), {run_dir.string(), "another process works in this run directory"});
  ::close(lock);
  EXPECT_NO_THROW(resume(run_dir, {}, false, ""));
}

TEST(Run, AFolderThatIsNoRunIsNotResumed) {
  const Folder folder("no_run");
  expect_text(error_of([&] { resume(folder / "run", {}, false, ""); }), {(folder / "run").string(), "no run directory", "config.yaml"});
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

TEST(Run, AStartThatWasKilledBeforeItsConfigWasWrittenCanBeStartedAgain) {
  const Folder folder("half_made");
  std::filesystem::create_directories(folder / "run/tokenizer");
  write_file_atomic(folder / "run/lock", "");
  run(load(folder), "");
  EXPECT_TRUE(std::filesystem::exists(folder / "run/stages/zero.json"));
}

TEST(Run, AFolderWithOtherThingsInItIsNotTakenOver) {
  const Folder folder("other_things");
  std::filesystem::create_directories(folder / "run");
  write_file_atomic(folder / "run/thesis.txt", "text");
  EXPECT_THROW(run(load(folder), ""), Error);
  EXPECT_EQ(contents_of(folder / "run").size(), 1u);
}

TEST(Run, AStopSignalLeavesACheckpointOfTheLastStep) {
  const Folder folder("signal");
  const auto run_dir = folder / "run", log = folder / "log";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const int out = ::open(log.c_str(), O_CREAT | O_WRONLY, 0644);
    ::dup2(out, 1);
    ::dup2(out, 2);
    const std::string config = folder.config().string(), where = "run_dir=" + run_dir.string();
    ::execl("/proc/self/exe", "test_pipeline", "run", config.c_str(), where.c_str(), "pipeline.1.steps=100000", "checkpoint.every_steps=0", nullptr);
    ::_exit(127);
  }
  int status = 0;
  const auto steps = [&] { return std::filesystem::exists(run_dir / "rollouts/zero/step-000003.jsonl.zst"); };
  while (!steps() && ::waitpid(child, &status, WNOHANG) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(steps()) << read_file(log);
  ::kill(child, SIGTERM);
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGTERM) << read_file(log);
  const auto found = train::newest_checkpoint(run_dir / "checkpoints/zero");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(rows_of(run_dir).back().at("step"), found->step);
  EXPECT_GE(found->step, 2);
}

}  // namespace
}  // namespace r1::pipeline
