#include "system_error.h"

#include <cctype>
#include <cerrno>
#include <system_error>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

const char* remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "Free space there or choose a folder on another disk; what was complete before is untouched.";
    case EFBIG:
      return "The file size limit (ulimit -f) or the file system forbids it; raise the limit or write "
             "elsewhere.";
    case EACCES:
    case EPERM:
      return "Check the owner and the mode of the file and of its folder, or choose another path.";
    case EROFS:
      return "The file system is read-only; choose another path.";
    case ENOENT:
      return "Check the spelling of the path; its folder must exist.";
    case ENOTDIR:
      return "A part of the path is a file, not a folder.";
    case EISDIR:
      return "Give the path of a file.";
    case EMFILE:
    case ENFILE:
      return "Too many files are open; raise the limit (ulimit -n).";
    default:
      return "Check the path and the disk.";
  }
}

}  // namespace

std::string system_reason(int error) {
  std::string text = std::generic_category().message(error);
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1]))) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

void throw_system_error(const std::filesystem::path& path, const std::string& action, int error) {
  throw Error(cat(path.string(), ": cannot ", action, ": ", system_reason(error), ".\n  ", remedy(error)));
}

}  // namespace r1
