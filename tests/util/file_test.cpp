#include "r1/util/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>

#include "util/temp_folder.h"

namespace r1 {
namespace {

using testing_support::error_of;
using testing_support::slurp;
using testing_support::TempFolder;
namespace fs = std::filesystem;

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

const std::string& binary() {
  static const std::string bytes = [] {
    std::string out;
    for (int i = 0; i < 3000000; ++i) out += static_cast<char>(i % 251);
    return out;
  }();
  return bytes;
}

TEST(File, ReadsEveryByte) {
  TempFolder folder;
  EXPECT_EQ(read_file(folder.write("empty", "")), "");
  const std::string zeros("a\0\r\n\xff", 5);
  EXPECT_EQ(read_file(folder.write("small", zeros)), zeros);
  EXPECT_EQ(read_file(folder.write("large", binary())), binary());
}

TEST(File, ReadsAPipeToItsEnd) {
  TempFolder folder;
  const auto fifo = folder / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::ofstream(fifo, std::ios::binary) << binary();
    ::_exit(0);
  }
  EXPECT_EQ(read_file(fifo), binary());
  EXPECT_GT(child, 0);
}

TEST(File, ReadErrorsNamePathAndReason) {
  TempFolder folder;
  const std::string missing = (folder / "missing").string();
  EXPECT_EQ(error_of([&] { read_file(missing); }), missing +
                                                       ": cannot read: no such file or directory.\n  Check "
                                                       "the spelling of the path; its folder must exist.");
  EXPECT_HOLDS(error_of([&] { read_file(folder.path()); }),
               folder.path().string() + ": cannot read: is a directory");
  EXPECT_HOLDS(error_of([&] { read_file(folder.write("file", "") / "below"); }), "not a directory");
  EXPECT_EQ(error_of([] { read_file("/dev/zero"); }), "/dev/zero: is a device; accepted: a file or a pipe.");
}

TEST(File, WritesWholeFilesAndLeavesNothingElse) {
  TempFolder folder;
  const auto file = folder / "out.bin";
  for (const auto& bytes : {std::string(), std::string("a\0b", 3), binary(), std::string("short again")}) {
    write_file_atomic(file, bytes);
    EXPECT_EQ(slurp(file), bytes);
  }
  EXPECT_EQ(folder.num_entries(), 1u);
}

TEST(File, WritesIntoTheCurrentFolder) {
  TempFolder folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomic("plain_name", "x");
  replace_symlink("link", "plain_name");
  fs::current_path(before);
  EXPECT_EQ(slurp(folder / "link"), "x");
}

TEST(File, ModeFollowsTheUmask) {
  TempFolder folder;
  const mode_t old_mask = ::umask(027);
  write_file_atomic(folder / "f", "x");
  ::umask(old_mask);
  EXPECT_EQ(fs::status(folder / "f").permissions(), fs::perms(0640));
}

TEST(File, WriteErrorsNameTheFileNotItsTemporary) {
  TempFolder folder;
  const std::string lost = (folder / "no" / "file").string();
  EXPECT_EQ(
      error_of([&] { write_file_atomic(lost, "12345"); }),
      lost +
          ": cannot write 5 bytes: no such file or directory.\n  Check the spelling of the path; its folder "
          "must exist.");
  fs::create_directories(folder / "taken/inside");
  EXPECT_HOLDS(error_of([&] { write_file_atomic(folder / "taken", "1"); }),
               (folder / "taken").string() + ": cannot write");
  EXPECT_HOLDS(error_of([&] { write_file_atomic(folder / "taken/", "1"); }), "is a directory");
  EXPECT_EQ(folder.num_entries(), 1u) << "a temporary was left behind";
}

TEST(File, SymlinksAreReplaced) {
  TempFolder folder;
  folder.write("a", "1");
  folder.write("b", "2");
  replace_symlink(folder / "latest", "a");
  EXPECT_EQ(slurp(folder / "latest"), "1");
  replace_symlink(folder / "latest", "b");
  EXPECT_EQ(slurp(folder / "latest"), "2");
  EXPECT_EQ(fs::read_symlink(folder / "latest"), fs::path("b"));
  EXPECT_EQ(folder.num_entries(), 3u);
  fs::create_directory(folder / "dir");
  EXPECT_HOLDS(error_of([&] { replace_symlink(folder / "dir", "a"); }), "cannot point the link at a: ");
  EXPECT_HOLDS(error_of([&] { replace_symlink(folder / "no/link", "a"); }), "no such file");
  EXPECT_EQ(folder.num_entries(), 4u);
}

TEST(File, MapsMoveAndEmpty) {
  TempFolder folder;
  MappedFile file(folder.write("data", binary()));
  EXPECT_EQ(text_of(file), binary());
  EXPECT_EQ(file.path(), folder / "data");
  fs::remove(folder / "data");  // the map stays valid
  MappedFile moved(std::move(file));
  EXPECT_EQ(text_of(moved), binary());
  EXPECT_TRUE(file.bytes().empty());  // NOLINT(bugprone-use-after-move): moved-from is empty
  MappedFile other(folder.write("other", "xyz"));
  moved = std::move(other);
  EXPECT_EQ(text_of(moved), "xyz");
  EXPECT_TRUE(MappedFile(folder.write("empty", "")).bytes().empty());
  EXPECT_TRUE(MappedFile().bytes().empty());
  EXPECT_HOLDS(error_of([&] { MappedFile map(folder / "missing"); }), "missing: cannot read: no such file");
  EXPECT_HOLDS(error_of([&] { MappedFile map(folder.path()); }), "is a directory");
  EXPECT_HOLDS(error_of([&] { MappedFile map("/dev/zero"); }), "accepted: a regular file");
}

// Values of the reference library, printed by its Python package.
TEST(File, HashesAreXxh3) {
  TempFolder folder;
  EXPECT_EQ(hash_bytes(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_bytes("abc"), "06b05ab6733a618578af5f94892f3950");
  EXPECT_EQ(hash_bytes(binary()), "766f642e64b63d92cc1a5bed6141edab");
  EXPECT_EQ(hash_file(folder.write("a", binary())), "766f642e64b63d92cc1a5bed6141edab");
  EXPECT_EQ(hash_file(folder.write("b", "")), "99aa06d3014798d86001c324468d497f");
  std::string changed = binary();
  changed[2999999] ^= 1;
  EXPECT_NE(hash_file(folder.write("c", changed)), hash_bytes(binary()));
  EXPECT_HOLDS(error_of([&] { hash_file(folder / "missing"); }), "cannot read: no such file");
  EXPECT_HOLDS(error_of([&] { hash_file(folder.path()); }), "cannot read: is a directory");
}

TEST(File, FreeSpaceIsAskedWhereThePathWillLie) {
  TempFolder folder;
  EXPECT_NO_THROW(require_free_space(folder / "not/there/yet", 1, "a test"));
  EXPECT_NO_THROW(require_free_space("relative", 0, "a test"));
  const std::string text =
      error_of([&] { require_free_space(folder / "x", uint64_t{1} << 60, "two checkpoints"); });
  EXPECT_HOLDS(text, (folder / "x").string() + ": ");
  EXPECT_HOLDS(text, " are free; needed: 1024.0 PiB for two checkpoints.\n  Free space there");
}

TEST(AtomicDirectory, AppearsAtCommit) {
  TempFolder folder;
  const auto target = folder / "runs/step-1";
  {
    AtomicDirectory directory(target);
    std::ofstream(directory.staging() / "a") << "1";
    fs::create_directory(directory.staging() / "sub");
    std::ofstream(directory.staging() / "sub/b") << "2";
    fs::create_symlink("nowhere", directory.staging() / "dangling");
    EXPECT_EQ(directory.staging(), folder / "runs/.step-1.partial");
    EXPECT_FALSE(fs::exists(target));
    directory.commit();
    EXPECT_EQ(slurp(target / "sub/b"), "2");
    EXPECT_FALSE(fs::exists(directory.staging()));
    EXPECT_HOLDS(error_of([&] { directory.commit(); }), "was committed before");
  }
  EXPECT_EQ(slurp(target / "a"), "1");
}

TEST(AtomicDirectory, IsAbsentWithoutCommit) {
  TempFolder folder;
  {
    AtomicDirectory directory(folder / "step-1");
    std::ofstream(directory.staging() / "a") << "1";
  }
  EXPECT_EQ(folder.num_entries(), 0u);
}

TEST(AtomicDirectory, ReplacesAnOlderOneWhole) {
  TempFolder folder;
  folder.write("step-1/old_file", "old");
  {
    AtomicDirectory directory((folder / "step-1").string() + "/");
    std::ofstream(directory.staging() / "new_file") << "new";
    EXPECT_EQ(slurp(folder / "step-1/old_file"), "old");
    directory.commit();
  }
  EXPECT_FALSE(fs::exists(folder / "step-1/old_file"));
  EXPECT_EQ(slurp(folder / "step-1/new_file"), "new");
  EXPECT_EQ(folder.num_entries(), 1u);
}

TEST(AtomicDirectory, RemovesTheLeftoverOfAKilledProcess) {
  TempFolder folder;
  folder.write(".step-1.partial/half", "x");
  AtomicDirectory directory(folder / "step-1");
  EXPECT_TRUE(fs::is_empty(directory.staging()));
}

TEST(AtomicDirectory, RefusesWhatHasNoName) {
  TempFolder folder;
  for (const char* name : {"", "/", ".", ".."}) EXPECT_THROW(AtomicDirectory{name}, Error) << name;
  folder.write("file", "1");
  EXPECT_HOLDS(error_of([&] { AtomicDirectory directory(folder / "file/below"); }),
               (folder / "file").string());
  AtomicDirectory directory(folder / "file");
  EXPECT_HOLDS(error_of([&] { directory.commit(); }), "cannot rename the finished folder: not a directory");
  EXPECT_EQ(slurp(folder / "file"), "1");
}

}  // namespace
}  // namespace r1
