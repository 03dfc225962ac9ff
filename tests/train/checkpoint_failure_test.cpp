// Killed processes, full disks and forbidden folders: older checkpoints stay whole and nothing half done is
// left.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torch/torch.h>

#include <functional>

#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/log.h"
#include "train/checkpoint_fixture.h"
#include "train/in_child.h"

namespace r1::train {
namespace {

namespace fs = std::filesystem;
using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

constexpr int64_t kLargeRows = 40000;  // 800 KB a tensor

// Step 1 is there and whole, and nothing else is.
void expect_only_step_one(const fs::path& dir) {
  EXPECT_EQ(listing(dir), (Names{"latest", "step-000001"}));
  Names damaged;
  const auto found = newest_checkpoint(dir, &damaged);
  ASSERT_TRUE(found);
  EXPECT_EQ(damaged, Names());
  EXPECT_TRUE(same_bits(CheckpointReader(*found).tensor("model", "a.weight"), torch::full({3, 5}, 1.5f)));
}

// A child saves without pause, each step twice (so that folders are replaced, too), and is killed. Steps
// never go back, and each value is the one of its step.
TEST(CheckpointKill, NewestIsCompleteAfterSigkillAtAnyMoment) {
  const TempFolder folder;
  const fs::path dir = folder / "checkpoints";
  // Made here: a child of a process with OpenMP threads must not start parallel work.
  std::vector<CheckpointContents> steps;
  for (int64_t step = 0; step < 200; ++step) steps.push_back(sample_contents(step, 2000));
  int64_t last_step = 0;
  int num_interrupted = 0;
  CheckpointPolicy policy;
  policy.keep_last = 2;
  save_checkpoint(dir, steps[0], policy);
  uint64_t noise = 12345;
  // More than 20 only where a busy machine did not let a single child begin.
  for (int kill = 0; kill < 20 || (num_interrupted == 0 && kill < 400); ++kill) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (size_t i = static_cast<size_t>(last_step); i < steps.size(); ++i) {
          save_checkpoint(dir, steps[i], policy);
          save_checkpoint(dir, steps[i], policy);
        }
        for (;;) save_checkpoint(dir, steps.back(), policy);
      } catch (...) {
        ::_exit(1);
      }
    }
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    ::usleep(static_cast<useconds_t>((noise >> 33) % 60000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed to save";

    for (const auto& name : listing(dir)) num_interrupted += name.ends_with(".partial");
    Names damaged;
    const auto found = newest_checkpoint(dir, &damaged);
    ASSERT_TRUE(found);
    EXPECT_EQ(damaged, Names());
    EXPECT_GE(found->step, last_step);
    last_step = found->step;
    for (const auto& name : listing(dir)) {  // every visible folder is whole, not only the newest
      if (name.rfind("step-", 0) != 0) continue;
      const CheckpointReader reader(dir / name);
      const auto& expected = steps.at(static_cast<size_t>(reader.step()));
      EXPECT_EQ(reader.state(), expected.state);
      for (const auto& [tensor_name, tensor] : expected.groups[0].tensors) {
        EXPECT_TRUE(same_bits(reader.tensor("model", tensor_name), tensor)) << name << " " << tensor_name;
      }
    }
    EXPECT_TRUE(fs::exists(dir / "latest/manifest.json"));
  }
  EXPECT_GT(num_interrupted, 0) << "no kill fell into a save";
  save_checkpoint(dir, steps.back(), policy);
  for (const auto& name : listing(dir)) EXPECT_NE(name.front(), '.') << "debris: " << name;
}

TEST(CheckpointSpace, TooLargeForTheDiskIsSaidBeforehand) {
  const TempFolder folder;
  const fs::path dir = folder / "checkpoints";
  save_checkpoint(dir, sample_contents(1));
  auto contents = sample_contents(2);
  // 2^54 bytes that take 4 bytes of memory.
  contents.groups[0].tensors[0].second = torch::ones({1}).expand({int64_t{1} << 52});
  const std::string text = error_of([&] { save_checkpoint(dir, contents); });
  EXPECT_EQ(text.rfind((dir / "step-000002").string() + ": was not saved", 0), 0u) << text;
  EXPECT_HOLDS(text, " are free; needed: ");
  EXPECT_HOLDS(text, " for the checkpoint of step 2");
  expect_only_step_one(dir);
  contents.step = 1;  // nor is the one of the same step touched
  error_of([&] { save_checkpoint(dir, contents); });
  expect_only_step_one(dir);
}

// A file size limit passes the check beforehand and stops the write in the middle of the tensors.
TEST(CheckpointSpace, FailureInTheMiddleLeavesNothing) {
  const TempFolder folder;
  const fs::path dir = folder / "checkpoints";
  save_checkpoint(dir, sample_contents(1));
  const auto large = sample_contents(2, kLargeRows);
  in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};  // the first tensor fits
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const std::string text = error_of([&] { save_checkpoint(dir, large); });
    EXPECT_EQ(
        text.rfind((dir / "step-000002").string() + ": was not saved; older checkpoints are as they were", 0),
        0u)
        << text;
    EXPECT_HOLDS(text, "model.safetensors");
    EXPECT_HOLDS(text, "ile too large");
  });
  expect_only_step_one(dir);
}

// Where mounting is allowed (elsewhere the two tests above are what there is): a real full disk.
TEST(CheckpointSpace, FullDisk) {
  const TempFolder folder;
  const fs::path dir = folder / "checkpoints";
  const auto large = sample_contents(2, kLargeRows);
  in_child([&] {
    const bool own_mounts = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own_mounts || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=1m,nr_inodes=14") != 0) {
      return;
    }
    save_checkpoint(dir, sample_contents(1));
    EXPECT_HOLDS(error_of([&] { save_checkpoint(dir, large); }), " are free; needed: ");
    expect_only_step_one(dir);
    // Bytes enough, but no more files: fails in the middle, with the disk's own reason. Entries: the root,
    // checkpoints, step-000001 with five files, latest; then the new folder with room for four of six files.
    auto many = sample_contents(2);
    many.extra_files.emplace_back("tokenizer.json", "{}");
    EXPECT_HOLDS(error_of([&] { save_checkpoint(dir, many); }), "o space left on device");
    expect_only_step_one(dir);
  });
}

// Root may write everywhere, so the child becomes somebody else first.
TEST(CheckpointPermission, ReadOnlyFolder) {
  const TempFolder folder;
  const fs::path dir = folder / "checkpoints";
  save_checkpoint(dir, sample_contents(1));
  ::chmod(folder.path().c_str(), 0555);
  ::chmod(dir.c_str(), 0555);
  in_child([&] {
    if (::geteuid() == 0) {
      ASSERT_EQ(::seteuid(65534), 0);
    }
    const std::string text = error_of([&] { save_checkpoint(dir, sample_contents(2)); });
    EXPECT_EQ(text.rfind((dir / "step-000002").string() + ": was not saved", 0), 0u) << text;
    EXPECT_HOLDS(text, "permission denied");
    EXPECT_HOLDS(error_of([&] { save_checkpoint(folder / "new/checkpoints", sample_contents(2)); }),
                 "permission denied");
    EXPECT_EQ(newest_checkpoint(dir)->step, 1);  // reading is allowed
  });
  ::chmod(dir.c_str(), 0);
  in_child([&] {
    if (::geteuid() == 0) {
      ASSERT_EQ(::seteuid(65534), 0);
    }
    EXPECT_HOLDS(error_of([&] { newest_checkpoint(dir); }), dir.string() + ": cannot list the checkpoints: ");
  });
  ::chmod(folder.path().c_str(), 0755);
  ::chmod(dir.c_str(), 0755);
  expect_only_step_one(dir);
}

}  // namespace
}  // namespace r1::train
