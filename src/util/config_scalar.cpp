#include "config_scalar.h"

#include <charconv>
#include <limits>

namespace r1::yaml {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Drops underscores that stand between digits; false for any other underscore.
bool drop_separators(const std::string& text, std::string& out) {
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return false;
    }
  }
  return true;
}

bool plain_number(const Value& value, std::string& digits) {
  return value.kind == Value::Kind::kScalar && !value.quoted && drop_separators(value.text, digits);
}

// Decimal digits and a power of ten, without a detour through double: 9007199254740993
// and 9.007199254740993e15 agree.
bool parse_integer(const std::string& text, int64_t& out) {
  size_t i = 0;
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) ++i;
  std::string digits;
  int64_t shift = 0;
  while (i < text.size() && is_digit(text[i])) digits += text[i++];
  if (digits.empty()) return false;
  if (i < text.size()) {
    if (text[i] == '.') {
      ++i;
      while (i < text.size() && is_digit(text[i])) {
        digits += text[i++];
        --shift;
      }
    }
    if (i >= text.size() || (text[i] != 'e' && text[i] != 'E')) return false;
    ++i;
    if (i < text.size() && text[i] == '+') ++i;
    const size_t exponent_begin = i;
    int64_t exponent = 0;
    while (i < text.size() && is_digit(text[i]) && exponent < 1000)
      exponent = exponent * 10 + (text[i++] - '0');
    if (i == exponent_begin || i != text.size()) return false;
    shift += exponent;
  }
  for (; shift < 0 && digits.back() == '0' && digits.size() > 1; ++shift) digits.pop_back();
  const bool zero = digits.find_first_not_of('0') == std::string::npos;
  if (shift < 0 && !zero) return false;  // a fraction
  constexpr uint64_t kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const uint64_t limit = kMax + (negative ? 1 : 0);
  uint64_t magnitude = 0;
  const auto append = [&](uint64_t digit) {
    if (magnitude > (limit - digit) / 10) return false;
    magnitude = magnitude * 10 + digit;
    return true;
  };
  for (const char c : digits) {
    if (!append(static_cast<uint64_t>(c - '0'))) return false;
  }
  for (; shift > 0 && !zero; --shift) {
    if (!append(0)) return false;
  }
  out = negative ? static_cast<int64_t>(~magnitude + 1) : static_cast<int64_t>(magnitude);
  return true;
}

}  // namespace

bool to_value(const Value& value, bool& out) {
  if (value.kind != Value::Kind::kScalar || value.quoted) return false;
  out = value.text == "true" || value.text == "True" || value.text == "TRUE";
  return out || value.text == "false" || value.text == "False" || value.text == "FALSE";
}

bool to_value(const Value& value, int64_t& out) {
  std::string text;
  return plain_number(value, text) && parse_integer(text, out);
}

bool to_value(const Value& value, double& out) {
  std::string text;
  if (!plain_number(value, text) || text.empty()) return false;
  const bool negative = text[0] == '-';
  if (negative || text[0] == '+') text.erase(0, 1);
  if (text == ".inf" || text == ".Inf" || text == ".INF") {
    out = std::numeric_limits<double>::infinity();
  } else {
    // from_chars knows "inf" and "nan" too, which YAML writes otherwise.
    if (text.empty() || (!is_digit(text[0]) && text[0] != '.')) return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size()) return false;
  }
  if (negative) out = -out;
  return true;
}

bool to_value(const Value& value, std::string& out) {
  if (value.kind != Value::Kind::kScalar) return false;
  out = value.text;
  return true;
}

bool to_value(const Value& value, std::filesystem::path& out) {
  if (value.kind != Value::Kind::kScalar) return false;
  out = value.text;
  return true;
}

}  // namespace r1::yaml
