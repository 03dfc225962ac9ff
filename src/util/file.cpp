#include "r1/util/file.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>

#include "descriptor.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

fs::path folder_of(const fs::path& file) {
  const fs::path folder = file.parent_path();
  return folder.empty() ? fs::path(".") : folder;
}

// A sibling no other writer uses, in this process or another.
fs::path temporary_beside(const fs::path& file) {
  static std::atomic<uint64_t> counter{0};
  return folder_of(file) / cat(".", file.filename().string(), ".", ::getpid(), ".", counter++, ".tmp");
}

void sync_folder(const fs::path& folder) { Descriptor(folder, O_RDONLY | O_DIRECTORY, "open").sync(); }

struct stat status_of(const Descriptor& file) {
  struct stat status;
  if (::fstat(file.fd(), &status) != 0) throw_system_error(file.path(), "read", errno);
  return status;
}

}  // namespace

std::string read_file(const fs::path& file) {
  const Descriptor in(file, O_RDONLY, "read");
  const struct stat status = status_of(in);
  if (S_ISDIR(status.st_mode)) throw_system_error(file, "read", EISDIR);
  if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
    throw Error(cat(file.string(), ": is a device; accepted: a file or a pipe."));
  }
  std::string bytes;
  // One byte more than the file has: the read that finds the end needs no second buffer.
  const size_t expected = S_ISREG(status.st_mode) ? static_cast<size_t>(status.st_size) : 0;
  for (size_t size = 0;;) {
    if (size == bytes.size()) bytes.resize(std::max(expected + 1, bytes.size() + (size_t{1} << 16)));
    const size_t got = in.read_some(bytes.data() + size, bytes.size() - size);
    size += got;
    if (got == 0) {
      bytes.resize(size);
      return bytes;
    }
  }
}

void write_file_atomic(const fs::path& file, std::string_view bytes) {
  const std::string action = cat("write ", bytes.size(), " bytes");
  if (file.filename().empty()) throw_system_error(file, action, EISDIR);
  const fs::path temporary = temporary_beside(file);
  try {
    try {
      const Descriptor out(temporary, O_WRONLY | O_CREAT | O_EXCL, action.c_str());
      out.write_all(bytes);
      out.sync();
    } catch (const Error& e) {
      // The user knows the file's name, not the temporary's.
      std::string text = e.what();
      const std::string hidden = temporary.string();
      if (text.compare(0, hidden.size(), hidden) == 0) text.replace(0, hidden.size(), file.string());
      throw Error(text);
    }
    if (::rename(temporary.c_str(), file.c_str()) != 0) throw_system_error(file, action, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(folder_of(file));
}

void replace_symlink(const fs::path& link, const std::string& target_name) {
  const fs::path temporary = temporary_beside(link);
  const std::string action = "point the link at " + target_name;
  if (::symlink(target_name.c_str(), temporary.c_str()) != 0) throw_system_error(link, action, errno);
  if (::rename(temporary.c_str(), link.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    throw_system_error(link, action, error);
  }
  sync_folder(folder_of(link));
}

MappedFile::MappedFile(const fs::path& file) : path_(file) {
  const Descriptor in(file, O_RDONLY, "read");
  const struct stat status = status_of(in);
  if (S_ISDIR(status.st_mode)) throw_system_error(file, "read", EISDIR);
  if (!S_ISREG(status.st_mode))
    throw Error(cat(file.string(), ": cannot be mapped; accepted: a regular file."));
  if (status.st_size == 0) return;
  void* data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, in.fd(), 0);
  if (data == MAP_FAILED) throw_system_error(file, cat("map ", status.st_size, " bytes"), errno);
  data_ = static_cast<const std::byte*>(data);
  size_ = static_cast<size_t>(status.st_size);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

void require_free_space(const fs::path& path, uint64_t needed_bytes, const std::string& what_for) {
  std::error_code error;
  fs::path existing = fs::absolute(path, error).lexically_normal();
  while (!fs::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
  const fs::space_info space = fs::space(existing, error);
  if (error) throw_system_error(existing, "ask for free space", error.value());
  if (space.available >= needed_bytes) return;
  throw Error(cat(path.string(), ": ", human_bytes(static_cast<double>(space.available)),
                  " are free; needed: ", human_bytes(static_cast<double>(needed_bytes)), " for ", what_for,
                  ".\n  Free space there or choose a folder on another disk."));
}

}  // namespace r1
