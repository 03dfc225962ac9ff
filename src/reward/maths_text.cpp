#include <algorithm>
#include <array>

#include "maths_expr.h"
#include "rational.h"

namespace r1::maths {
namespace {

/// Units of three letters, and abbreviations that number.cpp does not count as units.
constexpr std::array<std::string_view, 30> kUnits = {
    "lbs", "hrs", "mph", "kmh", "kph", "min", "sec", "deg", "day", "men", "way", "usd", "sqm", "cms", "rad",
    "mol", "per", "yrs", "ohm", "man", "bag", "box", "pie", "pen", "cup", "dog", "cat", "bus", "car", "gal"};
/// Words of maths that are long enough to be taken for a unit.
constexpr std::array<std::string_view, 26> kMaths = {
    "infinity", "alpha", "beta", "gamma", "delta",   "theta",      "lambda", "sigma",  "omega",
    "epsilon",  "sinh",  "cosh", "tanh",  "sech",    "csch",       "coth",   "arcsin", "arccos",
    "arctan",   "asin",  "acos", "atan",  "percent", "percentage", "empty",  "floor"};
constexpr size_t kMaxUnitWords = 6;

bool is_unit(std::string word) {
  for (char& c : word) c = static_cast<char>(c | 0x20);
  const auto is = [&](std::string_view known) { return word == known; };
  if (std::any_of(kMaths.begin(), kMaths.end(), is) || !may_be_unit(word)) return false;
  return word.size() != 3 || std::any_of(kUnits.begin(), kUnits.end(), is);
}

/// Whether `text` ends in something that can have a unit: a digit, a closing bracket, a command.
bool may_have_unit(std::string_view text) {
  if (text.empty()) return false;
  size_t at = text.size();
  while (at > 0 && is_letter(text[at - 1])) --at;
  if (at < text.size()) return at > 0 && text[at - 1] == '\\';
  return is_digit(text.back()) || text.back() == '}' || text.back() == ')';
}

bool is_one_of(std::string_view letters, char c) { return letters.find(c) != std::string_view::npos; }

std::string_view without_power(std::string_view text) {
  for (const std::string_view power : {"^2", "^3", "^{2}", "^{3}", "\xC2\xB2", "\xC2\xB3"}) {
    if (text.ends_with(power) && text.size() > power.size() &&
        is_letter(text[text.size() - power.size() - 1])) {
      return text.substr(0, text.size() - power.size());
    }
  }
  return text;
}

std::string_view without_end_marks(std::string_view text) {
  text = trimmed(text);
  while (!text.empty() && (text.back() == '.' || text.back() == ',' || text.back() == ';')) {
    text = trimmed(text.substr(0, text.size() - 1));
  }
  return text;
}

/// "5 square cm^2" -> "5", "\frac{1}{2} miles per hour" -> "\frac{1}{2}", "3 m" -> "3"; without a number
/// before them words stay.
std::string_view without_unit(std::string_view text) {
  std::string_view rest = text, found = text;
  for (size_t words = 0; words < kMaxUnitWords; ++words) {
    rest = without_power(rest);
    size_t at = rest.size();
    while (at > 0 && is_letter(rest[at - 1])) --at;
    const auto word = rest.substr(at);
    auto before = without_end_marks(rest.substr(0, at));
    const bool per = before.ends_with('/');  // "5 m/sec"
    if (per) before = without_end_marks(before.substr(0, before.size() - 1));
    if (word.empty() || before.empty() || rest[at - 1] == '\\') break;
    if (word.size() == 1 && !per) {  // "5 m", but 5m and x m are products
      const bool alone = before.find_first_not_of("0123456789., /-") == std::string_view::npos;
      if (!is_space(rest[at - 1]) || !alone || !is_one_of("mgshlL", word[0])) break;
    } else if (word.size() == 1 ? !is_one_of("hs", word[0]) : !is_unit(std::string(word))) {
      break;
    }
    rest = before;
    if (may_have_unit(rest)) found = rest;
  }
  return found;
}

}  // namespace

std::string maths_text(std::string_view text) {
  std::string single;  // "\\frac", escaped twice, becomes "\frac"
  const bool has_rows = text.find("\\begin") != std::string_view::npos;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!has_rows && text.substr(i).starts_with("\\\\") && i + 2 < text.size() && is_letter(text[i + 2])) ++i;
    single += text[i];
  }
  const std::string plain = plain_maths(single);
  return std::string(without_unit(without_end_marks(plain)));
}

}  // namespace r1::maths
