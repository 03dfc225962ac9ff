#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

#include "system_error.h"

namespace r1 {

/// An open file, closed at the end of its scope. Every failure throws Error naming the path.
class Descriptor {
 public:
  /// `action` is what an error says could not be done. `flags` as of open(2); O_CLOEXEC is added.
  Descriptor(std::filesystem::path path, int flags, const char* action, mode_t mode = 0666)
      : path_(std::move(path)) {
    do {
      fd_ = ::open(path_.c_str(), flags | O_CLOEXEC, mode);
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) throw_system_error(path_, action, errno);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(path_, other.path_);
    return *this;
  }

  int fd() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }

  /// All bytes, whatever write(2) takes at a time.
  void write_all(std::string_view bytes) const;
  /// Up to `size` bytes; 0 only at the end.
  size_t read_some(char* out, size_t size) const;
  void sync() const;  ///< fsync; a file system without it (EINVAL) is accepted

 private:
  int fd_ = -1;
  std::filesystem::path path_;
};

}  // namespace r1
