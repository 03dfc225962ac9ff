#pragma once
#include <filesystem>
#include <string>

namespace r1 {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Log lines go to stderr, "HH:MM:SS level text", coloured on a terminal; stdout is kept for results.
/// spdlog is behind this header alone, because its fmt and LibTorch's do not compile in one file.
void log_debug(const std::string& text);
void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

void set_log_level(LogLevel level);
/// false: lines go to the log file alone; of many ranks one is enough to read.
void set_log_to_stderr(bool shown);
/// Also appends every line to `file` (flushed per line); an empty path stops that.
void set_log_file(const std::filesystem::path& file);

}  // namespace r1
