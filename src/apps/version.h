#pragma once
#include <string>

namespace r1::apps {

/// "r1 (commit 1a2b3c4d5e, Release, clang 19.1.4, LibTorch 2.11.0)".
std::string version_line();
std::string compiler_name();
std::string libtorch_version();

}  // namespace r1::apps
