// A folder that appears complete or not at all.
#include <fcntl.h>
#include <linux/fs.h>  // RENAME_EXCHANGE
#include <sys/syscall.h>
#include <unistd.h>

#include "descriptor.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/log.h"
#include "r1/util/strings.h"

namespace r1 {

namespace fs = std::filesystem;

namespace {

void sync_tree(const fs::path& folder) {
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (error) break;
    if (fs::is_regular_file(status)) Descriptor(it->path(), O_RDONLY, "open").sync();
    if (fs::is_directory(status)) Descriptor(it->path(), O_RDONLY | O_DIRECTORY, "open").sync();
  }
  if (error) throw_system_error(folder, "read the folder", error.value());
  Descriptor(folder, O_RDONLY | O_DIRECTORY, "open").sync();
}

// Swaps two folders in one step; false where the file system cannot.
bool exchange(const fs::path& a, const fs::path& b) {
  return ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

}  // namespace

AtomicDirectory::AtomicDirectory(fs::path target) : target_(std::move(target)) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "runs/x/"
  if (target_.filename().empty() || target_.filename() == "." || target_.filename() == "..") {
    throw Error(
        cat("'", target_.string(), "' cannot be replaced as a whole; accepted: a folder with a name."));
  }
  staging_ = target_.parent_path() / cat(".", target_.filename().string(), ".partial");
  std::error_code error;
  fs::remove_all(staging_, error);
  if (error) throw_system_error(staging_, "remove the leftover of an earlier run", error.value());
  if (target_.has_parent_path()) fs::create_directories(target_.parent_path(), error);
  if (error) throw_system_error(target_.parent_path(), "make the folder", error.value());
  fs::create_directory(staging_, error);
  if (error) throw_system_error(staging_, "make the folder", error.value());
}

AtomicDirectory::~AtomicDirectory() {
  if (committed_) return;
  std::error_code error;
  fs::remove_all(staging_, error);
  if (error) log_warning(cat(staging_.string(), ": cannot remove it: ", error.message()));
}

void AtomicDirectory::commit() {
  if (committed_)
    throw Error(cat(target_.string(), ": was committed before; one AtomicDirectory makes one folder."));
  sync_tree(staging_);
  if (::rename(staging_.c_str(), target_.c_str()) != 0) {
    const int rename_error = errno;
    if (rename_error != ENOTEMPTY && rename_error != EEXIST) {
      throw_system_error(target_, "rename the finished folder", rename_error);
    }
    // An older folder is in the way: after the swap the staging name holds it.
    if (!exchange(staging_, target_)) {
      const fs::path aside = target_.parent_path() / cat(".", target_.filename().string(), ".old");
      std::error_code error;
      fs::remove_all(aside, error);
      if (::rename(target_.c_str(), aside.c_str()) != 0 || ::rename(staging_.c_str(), target_.c_str()) != 0) {
        throw_system_error(target_, "replace the older folder", errno);
      }
      fs::remove_all(aside, error);
    }
  }
  committed_ = true;
  const fs::path parent = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  Descriptor(parent, O_RDONLY | O_DIRECTORY, "open").sync();
  std::error_code error;
  fs::remove_all(staging_, error);  // the older folder after a swap; otherwise nothing
}

}  // namespace r1
