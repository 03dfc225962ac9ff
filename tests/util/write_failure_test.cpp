// Full disks, size limits, forbidden folders: one message, and what was there before stays.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <functional>

#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "r1/util/log.h"
#include "util/temp_folder.h"

namespace r1 {
namespace {

using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
namespace fs = std::filesystem;

constexpr size_t kDiskBytes = 128 << 10;
const std::string kTooMuch(512 << 10, 'x');

// Runs `body` in a child process, whose limits, mounts and user end with it, and repeats the child's failures
// here.
void in_child(const std::function<void()>& body) {
  TempFolder folder;
  const auto report = folder / "failures";
  std::fflush(nullptr);  // or the child would print what the parent had buffered
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FILE* out = std::fopen(report.c_str(), "w");
    try {
      body();
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();  // must not return into the child's copy of the test program
    }
    const auto& result = *::testing::UnitTest::GetInstance()->current_test_info()->result();
    for (int i = 0; i < result.total_part_count(); ++i) {
      const auto& part = result.GetTestPartResult(i);
      if (part.failed())
        std::fprintf(out, "%s:%d: %s\n", part.file_name(), part.line_number(), part.message());
    }
    std::fclose(out);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(slurp(report), "");
}

// A mount table of the child's own; false where that is forbidden.
bool own_mounts() {
  if (::unshare(CLONE_NEWNS) == 0) return true;
  const std::string user = "0 " + std::to_string(::geteuid()) + " 1",
                    group = "0 " + std::to_string(::getegid()) + " 1";
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << user;
  std::ofstream("/proc/self/gid_map") << group;
  return true;
}

// Makes writes of more than 128 KiB below `folder` fail, and returns the reason they will give: a small disk
// where mounting is allowed, a limit on the size of files elsewhere.
std::string shrink_disk(const fs::path& folder) {
  if (own_mounts() && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
      ::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=128k") == 0) {
    return "no space left on device";
  }
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{kDiskBytes, kDiskBytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  return "file too large";
}

TEST(WriteFailure, FullDiskKeepsTheOldFile) {
  TempFolder folder;
  in_child([&] {
    const std::string reason = shrink_disk(folder.path());
    const auto file = folder / "state.json";
    write_file_atomic(file, "old");
    const std::string text = error_of([&] { write_file_atomic(file, kTooMuch); });
    EXPECT_EQ(text.rfind(file.string() + ": cannot write 524288 bytes: " + reason + ".\n  ", 0), 0u) << text;
    EXPECT_EQ(slurp(file), "old");
    EXPECT_EQ(folder.num_entries(), 1u);
    EXPECT_NO_THROW(write_file_atomic(file, "new"));  // the temporary's space is free again
    std::string noise;                                // does not compress
    for (uint32_t i = 0, x = 1; i < 300000; ++i)
      noise += static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
    EXPECT_HOLDS(error_of([&] { write_zstd(file, noise); }), reason);
    EXPECT_EQ(slurp(file), "new");
  });
}

TEST(WriteFailure, FullDiskKeepsTheOldFolder) {
  TempFolder folder;
  in_child([&] {
    const std::string reason = shrink_disk(folder.path());
    {
      AtomicDirectory first(folder / "step");
      write_file_atomic(first.staging() / "weights", "old");
      first.commit();
    }
    const std::string text = error_of([&] {
      AtomicDirectory second(folder / "step");
      write_file_atomic(second.staging() / "weights", kTooMuch);
      second.commit();
    });
    EXPECT_HOLDS(text, reason);
    EXPECT_EQ(slurp(folder / "step/weights"), "old");
    EXPECT_EQ(folder.num_entries(), 1u);
  });
}

TEST(WriteFailure, FullDiskLeavesWholeJsonLines) {
  TempFolder folder;
  in_child([&] {
    const std::string reason = shrink_disk(folder.path());
    const auto file = folder / "metrics.jsonl";
    JsonlWriter out(file);
    out.write({{"step", 1}});
    EXPECT_HOLDS(error_of([&] { out.write({{"text", kTooMuch}}); }), file.string() + ": cannot write");
    out.write({{"step", 2}});
    EXPECT_EQ(slurp(file), "{\"step\":1}\n{\"step\":2}\n");
  });
}

TEST(WriteFailure, FullDiskEndsTheLogFileNotTheRun) {
  TempFolder folder;
  in_child([&] {
    const std::string reason = shrink_disk(folder.path());
    folder.write("log", std::string(kDiskBytes, 'x'));
    ::testing::internal::CaptureStderr();
    set_log_file(folder / "log");
    log_info("first");
    log_info("still here");
    set_log_file("");
    const std::string text = ::testing::internal::GetCapturedStderr();
    EXPECT_HOLDS(text, "info first\nlog file given up: " + (folder / "log").string() + ": cannot write");
    EXPECT_HOLDS(text, reason);
    EXPECT_HOLDS(text, "info still here\n");
  });
}

TEST(WriteFailure, DeviceWithoutSpace) {
  JsonlWriter out("/dev/full");
  EXPECT_EQ(
      error_of([&] { out.write({{"a", 1}}); }),
      "/dev/full: cannot write 8 bytes: no space left on device.\n  Free space there or choose a folder on "
      "another disk; what was complete before is untouched.");
}

// Root may write everywhere, so the child becomes somebody else first.
TEST(WriteFailure, ForbiddenFolder) {
  TempFolder folder;
  folder.write("file", "old");
  ::chmod((folder / "file").c_str(), 0600);
  ::chmod(folder.path().c_str(), 0555);
  in_child([&] {
    if (::geteuid() == 0) {
      ASSERT_EQ(::seteuid(65534), 0);
    } else {
      ::chmod((folder / "file").c_str(), 0);
    }
    const std::string path = (folder / "file").string();
    EXPECT_EQ(error_of([&] { write_file_atomic(path, "new"); }),
              path +
                  ": cannot write 3 bytes: permission denied.\n  Check the owner and the mode of the file "
                  "and of its "
                  "folder, or choose another path.");
    EXPECT_HOLDS(error_of([&] { read_file(path); }), path + ": cannot read: permission denied");
    EXPECT_HOLDS(error_of([&] { MappedFile map(path); }), "permission denied");
    EXPECT_HOLDS(error_of([&] { JsonlWriter out(path); }), path + ": cannot append: permission denied");
    EXPECT_HOLDS(error_of([&] { set_log_file(path); }), path + ": cannot append: permission denied");
    EXPECT_HOLDS(error_of([&] { AtomicDirectory directory(folder / "run"); }), "permission denied");
    EXPECT_HOLDS(error_of([&] { replace_symlink(folder / "latest", "x"); }), "permission denied");
  });
  ::chmod(folder.path().c_str(), 0755);
  ::chmod((folder / "file").c_str(), 0600);
  EXPECT_EQ(slurp(folder / "file"), "old");
}

// A process killed at any moment leaves the old or the new bytes.
TEST(WriteFailure, KillLeavesOldOrNew) {
  TempFolder folder;
  const auto file = folder / "state";
  const std::string old_bytes(200000, 'o'), new_bytes(300000, 'n');
  folder.write("state", old_bytes);
  folder.write("step/weights", old_bytes);
  for (int delay_us = 0; delay_us < 4000; delay_us += 200) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (bool flip = false;; flip = !flip) {
        const std::string& bytes = flip ? old_bytes : new_bytes;
        write_file_atomic(file, bytes);
        AtomicDirectory directory(folder / "step");
        write_file_atomic(directory.staging() / "weights", bytes);
        directory.commit();
      }
    }
    ::usleep(static_cast<useconds_t>(delay_us));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (const auto& path : {file, folder / "step/weights"}) {
      const std::string bytes = slurp(path);
      EXPECT_TRUE(bytes == old_bytes || bytes == new_bytes) << path << ": " << bytes.size() << " bytes";
    }
  }
}

}  // namespace
}  // namespace r1
