#pragma once
#include <string_view>

namespace r1::sandbox {

/// The sandbox server as an ELF file, so that the program needs no second file beside it.
std::string_view server_image();

}  // namespace r1::sandbox
