#include "version.h"

#include <torch/version.h>

#include "r1/util/strings.h"

namespace r1::apps {

std::string compiler_name() {
#if defined(__clang__)
  return cat("clang ", __clang_major__, ".", __clang_minor__, ".", __clang_patchlevel__);
#else
  return cat("g++ ", __GNUC__, ".", __GNUC_MINOR__, ".", __GNUC_PATCHLEVEL__);
#endif
}

std::string libtorch_version() { return TORCH_VERSION; }

std::string version_line() {
  return cat("r1 (commit ", R1_COMMIT, ", ", R1_BUILD_TYPE, ", ", compiler_name(), ", LibTorch ",
             libtorch_version(), ")");
}

}  // namespace r1::apps
