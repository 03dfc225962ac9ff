#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

std::string read_file(const std::filesystem::path& file);  ///< throws Error naming path and reason

/// Writes `file` whole or not at all: a temporary beside it, fsync, rename, fsync of the folder.
/// Throws Error naming path, reason ("no space left on device") and bytes; the old file stays.
void write_file_atomic(const std::filesystem::path& file, std::string_view bytes);

/// A folder that is complete or absent. Build its files under staging(), then commit(): fsync of every file
/// and folder, rename to `target`, fsync of the parent. The destructor removes an uncommitted staging folder.
/// The staging folder is `target`'s sibling ".<name>.partial"; a leftover of a killed process is removed
/// first. An older `target` is replaced in one step (swapped, then removed; where the file system cannot
/// swap, two renames). Missing parents are made. Throws Error naming path and reason; without commit()
/// `target` stays as it was.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path target);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  const std::filesystem::path& staging() const { return staging_; }
  void commit();  ///< once

 private:
  std::filesystem::path target_, staging_;
  bool committed_ = false;
};

/// Points the symbolic link `link` at `target_name` (a sibling) atomically; a file called `link` is replaced
/// too. Throws Error naming path and reason.
void replace_symlink(const std::filesystem::path& link, const std::string& target_name);

/// Read-only memory map of a whole file; move-only. Throws Error naming path and reason. An empty file has
/// size 0. Hazard: reading past the end of a file that somebody shortens meanwhile ends the process (SIGBUS).
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
};

/// XXH3-128 of a file's or a buffer's bytes, 32 hex digits; what `xxhsum -H2` prints.
std::string hash_file(const std::filesystem::path& file);
std::string hash_bytes(std::string_view bytes);

/// Throws Error when less than `needed_bytes` are free where `path` lies, with both figures.
void require_free_space(const std::filesystem::path& path, uint64_t needed_bytes,
                        const std::string& what_for);

}  // namespace r1
