#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/pipeline/run.h"
#include "r1/pipeline/verify_resume.h"
#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "tiny_run.h"

namespace r1::pipeline {
namespace {

using test::error_of;
using test::expect_text;
using test::Folder;
using test::rows_of;

RunConfig load(const Folder& folder, const std::string& run_dir) {
  return RunConfig::load(folder.config(), {"run_dir=" + (folder / run_dir).string()});
}

std::string weights(const std::filesystem::path& run_dir, const std::string& file) {
  return read_file(run_dir / "checkpoints/zero/step-000006" / file);
}

void flip_a_bit(const std::filesystem::path& file) {
  auto bytes = read_file(file);
  bytes[bytes.size() - 9] = static_cast<char>(bytes[bytes.size() - 9] ^ 4);
  write_file_atomic(file, bytes);
}

void expect_equal_runs(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_EQ(rows_of(a), rows_of(b));
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "reference.safetensors"}) EXPECT_EQ(weights(a, file), weights(b, file)) << file;
}

TEST(Resume, ARunKilledThreeTimesEqualsTheUnbrokenOne) {
  const Folder folder("killed");
  EXPECT_TRUE(verify_resume({.program = "/proc/self/exe", .config = folder.config(), .overrides = {"pipeline.1.steps=24"},
                             .work_dir = folder / "work", .kills = 3}));
  EXPECT_GT(rows_of(folder / "work/killed").size(), 24u);
  expect_text(error_of([&] { verify_resume({.program = "/proc/self/exe", .config = folder.config(), .overrides = {}, .work_dir = folder / "work"}); }),
              {"exists", "--work-dir"});
}

TEST(Resume, ADamagedCheckpointGivesWayToTheOneBeforeAndTheRunEndsEqual) {
  const Folder folder("damaged");
  run(load(folder, "unbroken"), "");
  // As if killed after the GRPO stage's last step, its newest checkpoint lost.
  std::filesystem::copy(folder / "unbroken", folder / "killed", std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  std::filesystem::remove(folder / "killed/stages/zero.json");
  flip_a_bit(folder / "killed/checkpoints/zero/step-000006/model.safetensors");
  resume(folder / "killed", {}, false, "");
  expect_equal_runs(folder / "killed", folder / "unbroken");

  // Both lost: nothing is started over in silence.
  std::filesystem::remove(folder / "killed/stages/zero.json");
  for (const char* step : {"step-000004", "step-000006"}) flip_a_bit(folder / "killed/checkpoints/zero" / step / "optimizer.safetensors");
  expect_text(error_of([&] { resume(folder / "killed", {}, false, ""); }), {"no complete checkpoint is left", "step-000006", "Remove that folder"});
}

TEST(Resume, TheNextStageDoesNotBeginWithOlderWeightsOfTheOneBefore) {
  const Folder folder("older");
  run(load(folder, "unbroken"), "");
  std::filesystem::copy(folder / "unbroken", folder / "killed", std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  // As if killed between the stages, the finished stage's newest checkpoint damaged: step 2 of 4 is left.
  std::filesystem::remove(folder / "killed/stages/zero.json");
  std::filesystem::remove_all(folder / "killed/checkpoints/zero");
  flip_a_bit(folder / "killed/checkpoints/pretrain/step-000004/model.safetensors");
  expect_text(error_of([&] { resume(folder / "killed", {}, false, ""); }), {"pretrain", "step 4"});
}

}  // namespace
}  // namespace r1::pipeline
