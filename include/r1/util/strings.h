#pragma once
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// Concatenates what operator<< can print: cat("step ", 3, " of ", 10).
template <typename... Args>
std::string cat(const Args&... args) {
  std::ostringstream out;
  ((out << args), ...);
  return out.str();
}

std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// The candidate with the smallest edit distance to `word`, or "" when none is within a third of its length
/// + 1.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "1.5 KiB", "92.9 MiB"; binary units, one decimal.
std::string human_bytes(double bytes);

/// "740", "1.2k", "135.0M", "2.1B".
std::string human_count(double count);

/// "0.4s", "12s", "3m05s", "2h07m".
std::string human_seconds(double seconds);

}  // namespace r1
