#pragma once
#include <filesystem>
#include <string>

namespace r1 {

/// Throws Error "<path>: cannot <action>: <reason>.\n  <remedy>", with the remedy that fits `error` (an
/// errno). `action` is "read", "write 123 bytes", ...
[[noreturn]] void throw_system_error(const std::filesystem::path& path, const std::string& action, int error);

/// strerror, first letter in lower case.
std::string system_reason(int error);

}  // namespace r1
