#include "r1/report/samples.h"

#include <gtest/gtest.h>

#include <set>

#include "run_folder.h"

namespace r1::report {
namespace {

using nlohmann::json;
using testing_support::completion;
using testing_support::kConfig;
using testing_support::TempFolder;
using testing_support::write_rollout;

TEST(Shorten, CutsTheMiddleBetweenCharacters) {
  size_t cut = 1;
  EXPECT_EQ(shorten("short", 5, cut), "short");
  EXPECT_EQ(cut, 0U);
  EXPECT_EQ(shorten("0123456789", 4, cut), "01\n[... 6 bytes left out ...]\n89");
  EXPECT_EQ(cut, 6U);
  const std::string euros = "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC";
  for (size_t limit = 0; limit < euros.size(); ++limit) {
    EXPECT_NO_THROW(json(shorten(euros, limit, cut)).dump()) << limit;  // dump refuses half a character
  }
}

TEST(Samples, MarksGroupsAndCountsSigns) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  std::string circle = "again ";
  for (int i = 0; i < 20; ++i) circle += "again ";
  write_rollout(folder, "zero", 4,
                {completion(1, 0, "wait, wrong", "wrong", 0), completion(2, 0, "a", "right"),
                 completion(1, 1, "b", "wrong", 1), completion(2, 1, circle, "wrong", 0),
                 completion(3, 0, "c", "right"), completion(3, 1, "d", "right"),
                 completion(4, 0, "e", "gold_unreadable"), completion(4, 1, "f", "gold_unreadable")});
  auto run = read_run(folder.path());
  const auto stages = read_samples(run);
  ASSERT_EQ(stages.size(), 1U);
  ASSERT_EQ(stages[0].groups.size(), 4U);
  EXPECT_EQ(stages[0].groups_read, 4);
  const auto& groups = stages[0].groups;  // by place in the file
  EXPECT_EQ(groups[0]["id"], 1);
  EXPECT_EQ(groups[0]["all_wrong"], true);
  EXPECT_EQ(groups[0]["format_only"], true);
  EXPECT_EQ(groups[0]["completions"].size(), 2U);
  EXPECT_EQ(groups[0]["completions"][0]["reflective"], 2);
  EXPECT_EQ(groups[1]["all_wrong"], false);
  EXPECT_EQ(groups[1]["format_only"], false);
  EXPECT_EQ(groups[2]["all_wrong"], false);
  EXPECT_EQ(groups[3]["all_wrong"], false);  // nobody was judged
  ASSERT_EQ(stages[0].signs.size(), 1U);
  EXPECT_EQ(stages[0].signs[0].step, 4);
  EXPECT_EQ(stages[0].signs[0].completions, 8);
  EXPECT_DOUBLE_EQ(stages[0].signs[0].reflective_words, 0.25);
  EXPECT_DOUBLE_EQ(stages[0].signs[0].repetitive, 0.125);
}

TEST(Samples, AreSpreadOverTheStepsWithinTheBytes) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  for (int step = 1; step <= 40; ++step) {
    std::vector<json> rows;
    for (int prompt = 0; prompt < 12; ++prompt) {
      for (int s = 0; s < 4; ++s)
        rows.push_back(completion(prompt, s, std::string(300, 'x'), prompt == 7 ? "wrong" : "right"));
    }
    write_rollout(folder, "zero", step, rows);
  }
  auto run = read_run(folder.path());
  SampleLimits limits;
  limits.files_per_stage = 10;
  limits.total_bytes = 60'000;
  const auto samples = read_samples(run, limits).at(0);
  EXPECT_EQ(samples.files, 40);
  EXPECT_EQ(samples.steps_read.size(), 10U);
  EXPECT_EQ(samples.steps_read.front(), 1);
  EXPECT_EQ(samples.steps_read.back(), 40);
  std::set<int64_t> steps;
  size_t bytes = 0, all_wrong = 0;
  for (const auto& group : samples.groups) {
    steps.insert(group["step"].get<int64_t>());
    bytes += group.dump().size();
    all_wrong += group["all_wrong"] == true ? 1 : 0;
  }
  EXPECT_EQ(steps.size(), 10U);  // every file that was read shows something
  EXPECT_EQ(all_wrong, 10U);     // and its all-wrong group first
  EXPECT_LE(bytes, limits.total_bytes);
  EXPECT_GT(bytes, limits.total_bytes / 2);
}

TEST(Samples, ADamagedFileIsANoteAndNotTheEnd) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  write_rollout(folder, "zero", 1, {completion(1, 0, "a", "right")});
  folder.write("rollouts/zero/step-000002.jsonl.zst", "no zstd");
  folder.write("rollouts/zero/.step-000003.jsonl.zst.12.0.tmp", "half");
  auto run = read_run(folder.path());
  const auto stages = read_samples(run);
  EXPECT_EQ(stages.at(0).groups.size(), 1U);
  ASSERT_EQ(run.notes.size(), 1U);
  EXPECT_HOLDS(run.notes[0], "step-000002.jsonl.zst");
}

TEST(Samples, KeptTextsOfRejectionSamplingAreShownToo) {
  TempFolder folder;
  folder.write("config.yaml", "pipeline: [{name: kept, kind: rejection_sample}]\n");
  std::filesystem::create_directories(folder / "data/kept");
  write_zstd(folder / "data/kept/step-000001.jsonl.zst",
             "{\"prompt\":\"1+1=\",\"completion\":\"2\",\"problem_id\":5,\"num_tokens\":1,\"rewards\":{"
             "\"accuracy\":1.0}}\n");
  auto run = read_run(folder.path());
  const auto group = read_samples(run).at(0).groups.at(0);
  EXPECT_EQ(group["id"], 5);
  EXPECT_EQ(group["completions"][0]["verdict"], "kept");
  EXPECT_EQ(group["completions"][0]["text"], "2");
  EXPECT_EQ(group["all_wrong"], false);
}

TEST(Samples, LongTextsAreCutShorterUntilEveryStageHasSome) {
  TempFolder folder;
  folder.write("config.yaml", std::string(kConfig) + "  - {name: more, kind: grpo, steps: 40}\n");
  for (int step = 1; step <= 5; ++step) {
    for (const char* stage : {"zero", "more"}) {
      write_rollout(folder, stage, step,
                    {completion(1, 0, "begin" + std::string(20'000, 'x') + "end", "right"),
                     completion(2, 0, "short", "right")});
    }
  }
  auto run = read_run(folder.path());
  SampleLimits limits;
  limits.total_bytes = 30'000;
  const auto stages = read_samples(run, limits);
  for (const auto& stage : stages) {
    EXPECT_GE(stage.groups.size(), 8U);
    for (const auto& group : stage.groups) {
      const auto text = group["completions"][0]["text"].get<std::string>();
      if (group["id"] == 2) {
        EXPECT_EQ(text, "short");
        continue;
      }
      EXPECT_EQ(group["completions"][0]["bytes"], 20'008);
      EXPECT_EQ(text.substr(0, 6), "beginx");
      EXPECT_EQ(text.substr(text.size() - 4), "xend");
      const size_t mark = text.find("\n[... ");
      const auto kept = mark + (text.size() - text.find("...]\n") - 5);
      EXPECT_EQ(text.substr(mark, text.find(" bytes") - mark), "\n[... " + std::to_string(20'008 - kept));
      EXPECT_EQ(text.find("[... ", mark + 5), std::string::npos);
    }
  }
}

TEST(Samples, FewerFilesWhereTheyAreLarge) {
  TempFolder folder;
  folder.write("config.yaml", kConfig);
  for (int step = 1; step <= 9; ++step) write_rollout(folder, "zero", step, {completion(1, 0, "a", "right")});
  auto run = read_run(folder.path());
  SampleLimits limits;
  limits.packed_bytes_per_stage = 1;
  const auto samples = read_samples(run, limits).at(0);
  EXPECT_EQ(samples.steps_read, (std::vector<int64_t>{1, 9}));
}

}  // namespace
}  // namespace r1::report
