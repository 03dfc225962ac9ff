#include "atomic_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {

AtomicOutput::AtomicOutput(std::filesystem::path file) : file_(std::move(file)) {
  partial_ = file_.parent_path() /
             cat(".", file_.filename().string(), ".", static_cast<long>(::getpid()), ".partial");
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("creating");
}

AtomicOutput::~AtomicOutput() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!committed_ && !partial_.empty()) {
    std::error_code ignored;
    std::filesystem::remove(partial_, ignored);
  }
}

void AtomicOutput::fail(const char* action) const {
  const int code = errno;
  throw Error(cat(file_.string(), ": ", action, " failed after ", position_, " bytes: ", std::strerror(code),
                  ".\n  Nothing was left behind; free space or choose a folder that can be written."));
}

void AtomicOutput::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // write() takes at most 2^31 - 4096 bytes on Linux.
    const ssize_t done = ::write(descriptor_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (done < 0) {
      if (errno == EINTR) continue;
      fail("writing");
    }
    position_ += static_cast<uint64_t>(done);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
}

void AtomicOutput::pad(uint64_t count) {
  static constexpr std::array<std::byte, 64> kZeros{};
  while (count > 0) {
    const uint64_t piece = std::min<uint64_t>(count, kZeros.size());
    write({kZeros.data(), static_cast<size_t>(piece)});
    count -= piece;
  }
}

void AtomicOutput::commit() {
  if (::fsync(descriptor_) != 0) fail("fsync");
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) fail("closing");
  if (::rename(partial_.c_str(), file_.c_str()) != 0) fail("renaming the finished file");
  committed_ = true;
  const auto folder = file_.parent_path().empty() ? std::filesystem::path(".") : file_.parent_path();
  const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_descriptor < 0) fail("opening the folder for fsync");
  const int synced = ::fsync(folder_descriptor);
  ::close(folder_descriptor);
  if (synced != 0) fail("fsync of the folder");
}

}  // namespace r1
