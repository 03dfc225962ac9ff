// One of several ranks fails, or one of several files is damaged: every rank learns it, older checkpoints stay.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include "r1/train/checkpoint.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/safetensors.h"
#include "r1/util/strings.h"
#include "train/checkpoint_ranks_fixture.h"
#include "train/in_child.h"

namespace r1::train {
namespace {

namespace fs = std::filesystem;
using test::run_ranks;
using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
using Names = std::vector<std::string>;

class CheckpointRanksFailure : public ::testing::Test {
 protected:
  CheckpointRanksFailure() { set_log_level(LogLevel::kError); }
  ~CheckpointRanksFailure() override { set_log_level(LogLevel::kInfo); }
  fs::path dir() const { return folder_ / "checkpoints"; }

  void expect_only_step_one() const {
    EXPECT_EQ(listing(dir()), (Names{"latest", "step-000001"}));
    Names damaged;
    const auto found = newest_checkpoint(dir(), &damaged);
    ASSERT_TRUE(found);
    EXPECT_EQ(damaged, Names());
    expect_step(CheckpointReader(*found), 1);
  }

  TempFolder folder_;
};

// What each rank's save threw: the text of its own Error, or "elsewhere: " and FailedElsewhere's.
std::vector<std::string> failures(const fs::path& dir, const std::vector<CheckpointContents>& of_rank) {
  std::vector<std::string> texts(of_rank.size());
  run_ranks(static_cast<int>(of_rank.size()), [&](const Ranks& ranks) {
    const auto rank = static_cast<size_t>(ranks->rank());
    try {
      save_checkpoint(dir, of_rank[rank], {}, *ranks);
    } catch (const Error& e) {
      texts[rank] = e.what();
    } catch (const dist::FailedElsewhere& e) {
      texts[rank] = "elsewhere: " + e.message;
    }
    // All are in step with each other afterwards.
    EXPECT_EQ(ranks->all_gather_bytes(std::to_string(rank), "after").size(), of_rank.size());
  });
  return texts;
}

// Contents of three ranks, of which `heavy` alone writes more than a few KB.
std::vector<CheckpointContents> one_heavy(int heavy) {
  std::vector<CheckpointContents> of_rank;
  for (int r = 0; r < 3; ++r) {
    of_rank.push_back(ranks_contents(2, r, {1, 1, 1}));
    if (r == heavy) of_rank.back().groups[1].slices.push_back({"heavy", {1000, 600}, 0, counted({600000}, 2, 0)});
  }
  return of_rank;
}

void expect_failure_of(const std::vector<std::string>& texts, size_t failing, const fs::path& dir, const std::string& file, const std::string& reason) {
  for (size_t r = 0; r < texts.size(); ++r) {
    const std::string own = cat((dir / "step-000002").string(), ": was not saved; older checkpoints are as they were.\n  Rank ", failing, " of 3: ");
    EXPECT_EQ(texts[r].rfind(r == failing ? own : cat("elsewhere: rank ", failing, ": ", own), 0), 0u) << "rank " << r << ": " << texts[r];
    EXPECT_HOLDS(texts[r], file);
    EXPECT_HOLDS(texts[r], reason);
  }
}

TEST_F(CheckpointRanksFailure, FileSizeLimitOfAnyOneRank) {
  save_by_ranks(dir(), 1, {1, 1, 1});
  for (const int heavy : {0, 1, 2}) {
    SCOPED_TRACE(heavy);
    const auto contents = one_heavy(heavy);
    in_child([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{1 << 20, 1 << 20};
      ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
      expect_failure_of(failures(dir(), contents), static_cast<size_t>(heavy), dir(), cat("optimizer-0000", heavy + 1, "-of-00003.safetensors"),
                        "ile too large");
    });
    expect_only_step_one();
  }
}

// Where mounting is allowed: the disk of all fills up while three ranks write.
TEST_F(CheckpointRanksFailure, FullDisk) {
  // Made here: a child of a process with OpenMP threads must not start parallel work.
  const auto contents = one_heavy(2);
  auto larger = contents;
  larger[2].groups[1].slices.back() = {"heavy", {3000, 1000}, 0, torch::zeros({3000000})};
  in_child([&] {
    const bool own_mounts = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (!own_mounts || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=8m,nr_inodes=20") != 0) {
      return;
    }
    save_by_ranks(dir(), 1, {1, 1, 1});
    expect_failure_of(failures(dir(), larger), 0, dir(), "the checkpoint of step 2", " are free; needed: ");
    expect_only_step_one();
    // Bytes enough, but no more files: the root, checkpoints, step-000001 with eleven files and latest leave room for the new folder and
    // four of its seven tensor files, so that some rank is left without.
    size_t tensor_files = 0;
    for (const auto& text : failures(dir(), contents)) {
      EXPECT_HOLDS(text, "o space left on device");
      EXPECT_HOLDS(text, "/.step-000002.partial/");
      tensor_files += !text.starts_with("elsewhere: ") && text.find(".safetensors") != std::string::npos;
    }
    EXPECT_GE(tensor_files, 1u);
    expect_only_step_one();
  });
}

TEST_F(CheckpointRanksFailure, RankZeroFailsBeforeAndAfterTheOthersWrite) {
  save_by_ranks(dir(), 1, {1, 1, 1});
  auto contents = one_heavy(1);
  contents[0].state["loss"] = std::nan("");
  expect_failure_of(failures(dir(), contents), 0, dir(), "state.json", "/loss is nan");
  expect_only_step_one();
  // A file in the folder's place is found at the rename.
  contents[0].state.erase("loss");
  std::ofstream(dir() / "step-000002") << "x";
  expect_failure_of(failures(dir(), contents), 0, dir(), "step-000002", "rename the finished folder");
  fs::remove(dir() / "step-000002");
  expect_only_step_one();
  for (const auto& text : failures(dir(), contents)) EXPECT_EQ(text, "");
}

// Rank 2's path leads elsewhere, as without a shared file system.
TEST_F(CheckpointRanksFailure, FolderThatARankDoesNotSee) {
  save_by_ranks(dir(), 1, {1, 1, 1});
  std::vector<std::string> texts(3);
  in_child([&] {
    run_ranks(3, [&](const Ranks& ranks) {
      const auto rank = static_cast<size_t>(ranks->rank());
      if (rank == 2) {
        ASSERT_EQ(::unshare(CLONE_FS), 0);  // a working directory of this thread's own
        ASSERT_EQ(::chdir("/"), 0);
      } else {
        ASSERT_EQ(::unshare(CLONE_FS), 0);
        ASSERT_EQ(::chdir(folder_.path().c_str()), 0);
      }
      try {
        save_checkpoint("checkpoints", ranks_contents(2, ranks->rank(), {1, 1, 1}), {}, *ranks);
      } catch (const Error& e) {
        texts[rank] = e.what();
      } catch (const dist::FailedElsewhere& e) {
        texts[rank] = "elsewhere: " + e.message;
      }
    });
    expect_failure_of(texts, 2, "checkpoints", ".step-000002.partial: rank 0 has made this folder, but it is not here", "share");
  });
  expect_only_step_one();
}

// Three ranks save without pause, each step twice, and are killed together: the newest is always whole.
TEST_F(CheckpointRanksFailure, NewestIsCompleteAfterSigkillAtAnyMoment) {
  int64_t last_step = 0;
  int num_interrupted = 0;
  save_by_ranks(dir(), 0, {1, 1, 1});
  uint64_t noise = 4321;
  for (int kill = 0; kill < 10 || (num_interrupted == 0 && kill < 200); ++kill) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try {
        for (int64_t step = last_step;; ++step) {
          save_by_ranks(dir(), step, {1, 2, 1}, 2);
          save_by_ranks(dir(), step, {1, 1, 1}, 2);
        }
      } catch (...) {
        ::_exit(1);
      }
    }
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    ::usleep(static_cast<useconds_t>((noise >> 33) % 100000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed to save";
    for (const auto& name : listing(dir())) num_interrupted += name.ends_with(".partial");
    Names damaged;
    const auto found = newest_checkpoint(dir(), &damaged);
    ASSERT_TRUE(found);
    EXPECT_EQ(damaged, Names());
    EXPECT_GE(found->step, last_step);
    last_step = found->step;
    for (const auto& name : listing(dir())) {
      if (name.rfind("step-", 0) == 0) expect_step(CheckpointReader(dir() / name), CheckpointReader(dir() / name).step());
    }
  }
  EXPECT_GT(num_interrupted, 0) << "no kill fell into a save";
  save_by_ranks(dir(), last_step, {1, 1}, 2);
  for (const auto& name : listing(dir())) EXPECT_NE(name.front(), '.') << "debris: " << name;
}

void flip(const fs::path& file, size_t position) {
  std::string bytes = slurp(file);
  bytes.at(position) = static_cast<char>(bytes[position] ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;
}

TEST_F(CheckpointRanksFailure, DamagedShardIsNamedOnEveryRankAndTheOlderOneIsTaken) {
  const std::vector<std::tuple<std::string, std::function<void(const fs::path&)>, std::string>> damages = {
      {"model-00002-of-00003.safetensors", [](const fs::path& f) { flip(f, fs::file_size(f) - 1); }, "has the XXH3-128 hash "},
      {"optimizer-00003-of-00003.safetensors", [](const fs::path& f) { flip(f, 10); }, "has the XXH3-128 hash "},
      {"optimizer-00001-of-00003.safetensors", [](const fs::path& f) { fs::remove(f); }, "is missing; expected: "},
      {"model-00003-of-00003.safetensors", [](const fs::path& f) { fs::resize_file(f, 9); }, "has 9 bytes; expected: "},
      {"model.safetensors.index.json", [](const fs::path& f) { flip(f, 20); }, "has the XXH3-128 hash "},
      {"manifest.json", [](const fs::path& f) { fs::remove(f); }, "is missing"},
      {"manifest.json",
       [](const fs::path& f) {
         auto manifest = nlohmann::json::parse(slurp(f));
         manifest["files"].erase("optimizer-00002-of-00003.safetensors");
         std::ofstream(f) << manifest.dump();
       },
       "lists the group 'optimizer' but not its file"},
  };
  for (const auto& [name, damage, message] : damages) {
    SCOPED_TRACE(name);
    fs::remove_all(dir());
    save_by_ranks(dir(), 1, {1, 1});
    const fs::path broken = save_by_ranks(dir(), 2, {1, 1, 1});
    damage(broken / name);
    const std::string text = error_of([&] { CheckpointReader reader(broken); });
    EXPECT_EQ(text.rfind((broken / name).string() + ": ", 0), 0u) << text;
    EXPECT_HOLDS(text, message);
    for (const int readers : {1, 2, 4}) {
      run_ranks(readers, [&](const Ranks& ranks) {
        Names damaged;
        const auto found = newest_checkpoint(dir(), *ranks, &damaged);
        ASSERT_TRUE(found);
        EXPECT_EQ(found->step, 1);
        EXPECT_EQ(damaged, Names{text});
        expect_step(CheckpointReader(*found), 1);
      });
    }
    fs::remove_all(dir() / "step-000001");
    run_ranks(2, [&](const Ranks& ranks) {
      Names damaged;
      EXPECT_FALSE(newest_checkpoint(dir(), *ranks, &damaged));
      EXPECT_EQ(damaged, Names{text});
    });
  }
}

TEST_F(CheckpointRanksFailure, FolderThatCannotBeListedFailsOnEveryRank) {
  folder_.write("file", "");
  std::vector<std::string> texts(2);
  run_ranks(2, [&](const Ranks& ranks) {
    try {
      newest_checkpoint(folder_ / "file", *ranks);
    } catch (const Error& e) {
      texts[0] = e.what();
    } catch (const dist::FailedElsewhere& e) {
      texts[1] = e.message;
    }
  });
  for (const auto& text : texts) EXPECT_HOLDS(text, "file: cannot list the checkpoints");
}

// Files that another program made, whole by size and hash, with slices that do not fit together.
TEST_F(CheckpointRanksFailure, SlicesThatDoNotFitAreNamed) {
  const fs::path saved = save_by_ranks(dir(), 1, {1, 1, 1});
  const std::string second = "optimizer-00002-of-00003.safetensors", third = "optimizer-00003-of-00003.safetensors";
  const auto rewrite = [&](const std::string& name, const std::function<void(std::vector<TensorView>&, std::map<std::string, std::string>&)>& change) {
    const fs::path target = dir() / "step-000002";
    fs::remove_all(target);
    fs::copy(saved, target);
    {
      const SafetensorsFile file(saved / name);
      auto views = file.tensors();
      auto metadata = file.metadata();
      change(views, metadata);
      write_safetensors(target / name, views, metadata);
    }
    auto manifest = nlohmann::json::parse(slurp(target / "manifest.json"));
    manifest["step"] = 2;
    manifest["files"][name] = {{"bytes", fs::file_size(target / name)}, {"xxh3_128", hash_file(target / name)}};
    std::ofstream(target / "manifest.json") << manifest.dump();
    const std::string text = error_of([&] { CheckpointReader reader(target); });
    return text.substr(text.find("optimizer-0000"));
  };
  const auto find = [](std::vector<TensorView>& views, const std::string& name) {
    return std::find_if(views.begin(), views.end(), [&](const auto& view) { return view.name == name; });
  };
  // a.exp_avg of 35 elements: 0 to 15, 15 to 31, 31 to 35.
  EXPECT_HOLDS(rewrite(second, [&](auto& views, auto&) { views.erase(find(views, "a.exp_avg@15")); }),
               third + ": tensor 'a.exp_avg' lacks a slice: the next one begins at element 31, those before it end at 15");
  EXPECT_HOLDS(rewrite(second, [&](auto& views, auto&) { find(views, "a.exp_avg@15")->name = "a.exp_avg@14"; }),
               second + ": tensor 'a.exp_avg' overlaps another slice of it: this one begins at element 14, those before it end at 15");
  EXPECT_HOLDS(rewrite(third, [&](auto& views, auto&) { views.erase(find(views, "a.exp_avg@31")); }),
               second + ": tensor 'a.exp_avg' has slices of 31 elements together; expected: 35");
  EXPECT_HOLDS(rewrite(second, [&](auto&, auto& metadata) { metadata["r1_slice_shapes"] = R"({"a.exp_avg":[35]})"; }),
               second + ": tensor 'a.exp_avg' is of F32 [35] here and of F32 [5, 7] in optimizer-00001-of-00003.safetensors");
  EXPECT_HOLDS(rewrite(second, [&](auto&, auto& metadata) { metadata["r1_slice_shapes"] = "[5"; }), "is not JSON of shapes by name");
  EXPECT_HOLDS(rewrite(second,
                       [&](auto& views, auto&) {
                         views.push_back(*find(views, "a.exp_avg@15"));
                         views.back().name = "step";
                       }),
               third + ": tensor 'step' is of I64 [] here and of F32 [16] in " + second);
  EXPECT_HOLDS(rewrite(second,
                       [&](auto& views, auto&) {
                         TensorView twice = *find(views, "a.exp_avg@15");
                         twice.name = "b.exp_avg";
                         twice.shape = {3};
                         twice.bytes = twice.bytes.first(12);
                         views.push_back(twice);
                       }),
               third + ": tensor 'b.exp_avg' overlaps another slice of it: this one begins at element 0, those before it end at 3");
}

}  // namespace
}  // namespace r1::train
