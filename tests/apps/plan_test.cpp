// `r1 plan`: the account of published runs, what does not fit, and memory against the peak of real runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "process.h"
#include "util/temp_folder.h"

namespace r1::apps {
namespace {

using r1::testing_support::TempFolder;
using testing_support::run_r1;

testing_support::Result at_source(const std::vector<std::string>& arguments) { return run_r1(arguments, "", "", R1_SOURCE_DIR); }

/// The largest "together <n> MiB" (or GiB) of the plan's lines, in bytes.
double largest_together(const std::string& plan) {
  double largest = 0;
  const std::string word = "; together ";
  for (size_t at = plan.find(word); at != std::string::npos; at = plan.find(word, at + 1)) {
    std::istringstream text(plan.substr(at + word.size(), 40));
    double value = 0;
    std::string unit;
    text >> value >> unit;
    largest = std::max(largest, value * (unit == "GiB" ? 1024.0 * 1024 * 1024 : 1024.0 * 1024));
  }
  return largest;
}

/// Steps are cut down; a step is as large as the config says.
void expect_within_ten_percent(const std::string& config, std::vector<std::string> fewer_steps) {
  const TempFolder folder;
  fewer_steps.insert(fewer_steps.begin(), config);
  std::vector<std::string> plan = {"plan"}, run = {"run"};
  plan.insert(plan.end(), fewer_steps.begin(), fewer_steps.end());
  run.insert(run.end(), fewer_steps.begin(), fewer_steps.end());
  run.push_back("run_dir=" + (folder / "run").string());
  const auto planned = at_source(plan);
  ASSERT_EQ(planned.exit_code, 0) << planned.err;
  const auto ran = at_source(run);
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  const double share = largest_together(planned.out) / ran.peak_bytes;
  EXPECT_GT(share, 0.9) << planned.out << ran.peak_bytes;
  EXPECT_LT(share, 1.1) << planned.out << ran.peak_bytes;
}

TEST(Plan, MemoryIsWithinTenPercentOfThePeakOfTheTinyRun) {
  expect_within_ten_percent("configs/tiny/r1_zero.yaml", {"pipeline.0.steps=3", "pipeline.0.schedule.warmup_steps=0", "pipeline.1.steps=2",
                                                          "pipeline.1.schedule.warmup_steps=0", "pipeline.1.eval.problems=256"});
}

TEST(Plan, PrintsItsAccountOfTable7) {
  const auto plan = at_source({"plan", "configs/r1/r1_zero.yaml"});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  for (const char* part : {"512 x h800", "of the published 101.4k h", "It would give all of them with one of these", "assumed of h800", "$2 an hour"}) {
    EXPECT_NE(plan.out.find(part), std::string::npos) << "no '" << part << "' in:\n" << plan.out;
  }
}

TEST(Plan, RefusesWhatDoesNotFitAndSaysWhatWould) {
  const auto plan = at_source({"plan", "configs/plan/qwen_1.5b_grpo.yaml", "model.shape=configs/models/qwen2.5_math_7b.yaml"});
  EXPECT_EQ(plan.exit_code, 1);
  for (const char* part : {"stage 'grpo' needs", "on a device that has 74.5 GiB", "it would fit with", "plan.devices=2"}) {
    EXPECT_NE(plan.err.find(part), std::string::npos) << "no '" << part << "' in:\n" << plan.err;
  }
  const auto other = at_source({"plan", "configs/plan/qwen_1.5b_grpo.yaml", "--hardware", "configs/hardware/none.yaml"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.err.find("configs/hardware/none.yaml"), std::string::npos) << other.err;
}

TEST(Plan, SimulatesBothPublishedFigures) {
  const auto v3 = at_source({"plan", "configs/plan/v3_pretraining.yaml", "--simulate", "ranks=2048"});
  EXPECT_EQ(v3.exit_code, 0) << v3.err;
  for (const char* part : {"128 pipelines x 16 stages, experts over 64 ranks (8 nodes)", "GPU hours per trillion tokens", "published  2664.0K GPU hours, 180.0K per trillion"}) {
    EXPECT_NE(v3.out.find(part), std::string::npos) << "no '" << part << "' in:\n" << v3.out;
  }
  const auto zero = at_source({"plan", "configs/r1/r1_zero.yaml", "--simulate", "ranks=512", "pipeline.0.steps=10400"});
  EXPECT_EQ(zero.exit_code, 0) << zero.err;
  EXPECT_NE(zero.out.find("published  101.4K GPU hours; simulated / published = 0.9"), std::string::npos) << zero.out;
  const auto wrong = at_source({"plan", "configs/r1/r1_zero.yaml", "--simulate", "ranks=512,pipeline=7"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.err.find("512 ranks are no multiple of 7 stages"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace r1::apps
