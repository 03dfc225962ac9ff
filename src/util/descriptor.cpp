#include "descriptor.h"

#include "r1/util/strings.h"

namespace r1 {

void Descriptor::write_all(std::string_view bytes) const {
  const size_t total = bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR) {
      const int error = errno;
      throw_system_error(path_, cat("write ", total, " bytes"), error);
    }
  }
}

size_t Descriptor::read_some(char* out, size_t size) const {
  for (;;) {
    const ssize_t got = ::read(fd_, out, size);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) throw_system_error(path_, "read", errno);
  }
}

void Descriptor::sync() const {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS)
    throw_system_error(path_, "flush to the disk", errno);
}

}  // namespace r1
