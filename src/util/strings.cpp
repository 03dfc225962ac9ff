#include "r1/util/strings.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace r1 {
namespace {

// Optimal string alignment: insert, delete, replace and swap of neighbours cost 1 each.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

std::string print(const char* format, double value, const char* unit) {
  char text[64];
  std::snprintf(text, sizeof text, format, value, unit);
  return text;
}

// Scales |value| below `base`, where rounding to one decimal counts: 1048575.9 bytes are "1.0 MiB", not
// "1024.0 KiB".
std::string scaled(double value, double base, const std::vector<const char*>& units, bool whole_first) {
  size_t unit = 0;
  const auto shown = [&] {
    return unit == 0 && whole_first ? std::round(value) : std::round(std::abs(value) * 10) / 10;
  };
  while (unit + 1 < units.size() && std::abs(shown()) >= base) {
    value /= base;
    ++unit;
  }
  return print(unit == 0 && whole_first ? "%.0f%s" : "%.1f%s", value, units[unit]);
}

}  // namespace

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = word.size() / 3 + 2;  // one more than what is still called near
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string human_bytes(double bytes) {
  if (!std::isfinite(bytes)) return print("%g%s", bytes, " B");
  return scaled(bytes, 1024, {" B", " KiB", " MiB", " GiB", " TiB", " PiB"}, true);
}

std::string human_count(double count) {
  if (!std::isfinite(count)) return print("%g%s", count, "");
  return scaled(count, 1000, {"", "k", "M", "B", "T"}, true);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return print("%g%s", seconds, "s");
  if (seconds < 0) return "-" + human_seconds(-seconds);
  if (seconds < 9.95) return print("%.1f%s", seconds, "s");
  const double whole = std::round(seconds);
  if (whole < 60) return print("%.0f%s", whole, "s");
  char text[64];
  if (whole < 3600) {
    std::snprintf(text, sizeof text, "%dm%02ds", static_cast<int>(whole) / 60, static_cast<int>(whole) % 60);
  } else {
    const double minutes = std::floor(whole / 60);
    std::snprintf(text, sizeof text, "%.0fh%02.0fm", std::floor(minutes / 60), std::fmod(minutes, 60));
  }
  return text;
}

}  // namespace r1
