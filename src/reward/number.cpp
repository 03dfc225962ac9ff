#include "r1/reward/number.h"

#include <algorithm>
#include <array>

#include "rational.h"

namespace r1 {
namespace {

constexpr size_t kMaxDigits = 10'000;

/// Words after a number that change its value or join it to something: no units.
constexpr std::array<std::string_view, 49> kNotUnits = {
    "sqrt",     "log",      "sin",      "cos",        "tan",         "and",      "plus",
    "minus",    "times",    "over",     "divided",    "squared",     "cubed",    "point",
    "half",     "halves",   "third",    "thirds",     "quarter",     "quarters", "fourth",
    "fourths",  "fifth",    "fifths",   "sixth",      "sixths",      "seventh",  "sevenths",
    "eighth",   "eighths",  "ninth",    "ninths",     "tenth",       "tenths",   "dozen",
    "hundred",  "hundreds", "thousand", "thousands",  "million",     "millions", "billion",
    "billions", "trillion", "twelfths", "hundredths", "thousandths", "root",     "not"};
constexpr std::array<std::string_view, 18> kShortUnits = {"cm", "mm", "km", "kg", "mg",  "ml",
                                                          "ft", "in", "lb", "oz", "hr",  "mi",
                                                          "yd", "am", "pm", "hp", "mph", "sq"};

template <typename List>
bool contains(const List& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

/// A place in a text; every method moves it on success and leaves it where it was on failure.
struct Cursor {
  std::string_view text;
  size_t at = 0;
  size_t no_groups_before = 0;  ///< up to here commas are known not to group: keeps long lists linear
  size_t overlong_end = 0;      ///< the end of the last literal that has too many digits

  bool done() const { return at >= text.size(); }
  char peek(size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }
  void spaces() {
    while (!done() && is_space(text[at])) ++at;
  }
  bool take(std::string_view word) {
    if (!text.substr(at).starts_with(word)) return false;
    at += word.size();
    return true;
  }

  /// Digits with optional thousands groups, appended to `digits` without the commas.
  bool whole(std::string& digits) {
    const size_t start = at;
    while (is_digit(peek())) ++at;
    if (at == start) return false;
    digits.append(text.substr(start, at - start));
    if (at - start > 3 || text[start] == '0' || start < no_groups_before) return true;
    // Groups count only when all of them have three digits: "1,234,567" is one number, "1,2" and "1,2345" are
    // lists.
    size_t end = at;
    std::string groups;
    while (end < text.size() && text[end] == ',') {
      size_t run = 0;
      while (run < 4 && end + 1 + run < text.size() && is_digit(text[end + 1 + run])) ++run;
      if (run != 3) {
        if (run > 0) {
          no_groups_before = end;
          groups.clear();
          end = at;
        }
        break;
      }
      groups.append(text.substr(end + 1, 3));
      end += 4;
    }
    digits += groups;
    at = end;
    return true;
  }

  /// "12", "1,234.5", ".5"; `integral` says whether there was no fraction part.
  std::optional<mpq_class> decimal(bool* integral = nullptr) {
    const size_t start = at;
    std::string digits;
    const bool has_whole = whole(digits);
    size_t places = 0;
    if (peek() == '.' && is_digit(peek(1))) {
      ++at;
      while (is_digit(peek())) {
        digits += text[at++];
        ++places;
      }
    }
    if (integral != nullptr) *integral = places == 0;
    if (digits.size() > kMaxDigits) overlong_end = at;
    if ((!has_whole && places == 0) || digits.size() > kMaxDigits) {
      at = start;
      return std::nullopt;
    }
    mpz_class scale;
    mpz_ui_pow_ui(scale.get_mpz_t(), 10, places);
    mpq_class value(mpz_class(digits, 10), scale);
    value.canonicalize();
    return value;
  }

  bool minus_sign() {
    bool negative = false;
    if (peek() == '-' || peek() == '+') {
      negative = text[at++] == '-';
    } else if (take("\xE2\x88\x92")) {
      negative = true;
    } else {
      return false;
    }
    return negative;
  }

  std::optional<mpq_class> braced() {
    const size_t start = at;
    if (take("{")) {
      spaces();
      const bool negative = minus_sign();
      spaces();
      auto value = decimal();
      spaces();
      if (value && take("}")) {
        if (negative) *value = -*value;
        return value;
      }
    } else if (is_digit(peek())) {
      return mpq_class(text[at++] - '0');
    }
    at = start;
    return std::nullopt;
  }

  /// \frac{a}{b}, \frac12, \frac1{72}.
  std::optional<mpq_class> latex_fraction() {
    const size_t start = at;
    if (take("\\frac") || take("\\dfrac") || take("\\tfrac")) {
      spaces();
      const auto above = braced();
      spaces();
      const auto below = above ? braced() : std::nullopt;
      if (below && *below != 0) return mpq_class(*above / *below);
    }
    at = start;
    return std::nullopt;
  }

  /// "/ b" after a number.
  std::optional<mpq_class> denominator() {
    const size_t start = at;
    spaces();
    if (take("/")) {
      spaces();
      if (auto below = decimal()) return below;
    }
    at = start;
    return std::nullopt;
  }

  /// A number without its sign. spaced_mixed: "3 1/2" is three and a half.
  std::optional<mpq_class> magnitude(bool spaced_mixed) {
    if (auto fraction = latex_fraction()) return fraction;
    const size_t start = at;
    bool integral = false;
    auto value = decimal(&integral);
    if (!value) return std::nullopt;
    if (const auto below = denominator()) {
      if (*below == 0) {
        at = start;
        return std::nullopt;
      }
      return mpq_class(*value / *below);
    }
    if (!integral) return value;
    const size_t after_whole = at;
    spaces();
    if (const auto fraction = latex_fraction(); fraction && *fraction > 0)
      return mpq_class(*value + *fraction);
    if (spaced_mixed && at > after_whole) {
      bool above_integral = false;
      const auto above = decimal(&above_integral);
      const auto below = above && above_integral ? denominator() : std::nullopt;
      if (below && *below > *above) return mpq_class(*value + *above / *below);
    }
    at = after_whole;
    return value;
  }
};

/// What may follow a number: nothing, % or degrees, or up to four words that can be a unit. nullopt: anything
/// else.
std::optional<std::string> parse_unit(std::string_view rest) {
  const bool apart = !rest.empty() && is_space(rest.front());
  rest = trimmed(rest);
  if (rest.starts_with('%')) rest = trimmed(rest.substr(1));
  if (rest.starts_with("^\\circ")) rest = trimmed(rest.substr(6));
  if (rest.ends_with('.')) rest = trimmed(rest.substr(0, rest.size() - 1));
  if (rest.empty()) return "";
  if (!apart || rest.size() > 60) return std::nullopt;
  std::string unit;
  int words = 0;
  for (size_t i = 0; i < rest.size();) {
    std::string word;
    while (i < rest.size() && is_letter(rest[i])) word += static_cast<char>(rest[i++] | 0x20);
    if (!may_be_unit(word)) return std::nullopt;
    if (word.size() > 3 && word.back() == 's') word.pop_back();
    unit += unit.empty() ? word : " " + word;
    for (const std::string_view power : {"^2", "^3", "^{2}", "^{3}"}) {
      if (!rest.substr(i).starts_with(power)) continue;
      unit += power[1] == '{' ? power[2] : power[1];
      i += power.size();
      break;
    }
    if (++words > 4) return std::nullopt;
    const size_t before_space = i;
    while (i < rest.size() && is_space(rest[i])) ++i;
    if (i < rest.size() && i == before_space) return std::nullopt;
  }
  return unit;
}

}  // namespace

bool may_be_unit(std::string_view word) {
  return !contains(kNotUnits, word) && (word.size() >= 3 || contains(kShortUnits, word));
}

std::optional<WrittenNumber> parse_written_number(std::string_view text) {
  Cursor cursor{trimmed(text)};
  if (is_letter(cursor.peek())) {  // "x = 5"
    ++cursor.at;
    cursor.spaces();
    if (!cursor.take("=")) return std::nullopt;
    cursor.spaces();
  }
  const bool negative = cursor.minus_sign();
  cursor.spaces();
  auto value = cursor.magnitude(/*spaced_mixed=*/true);
  if (!value) return std::nullopt;
  auto unit = parse_unit(cursor.text.substr(cursor.at));
  if (!unit) return std::nullopt;
  if (negative) *value = -*value;
  return WrittenNumber{std::move(*value), std::move(*unit)};
}

std::optional<std::string> canonical_number(std::string_view text) {
  const auto number = parse_written_number(plain_maths(text));
  if (!number) return std::nullopt;
  return number->value.get_str();
}

std::optional<std::string> last_number(std::string_view text) {
  std::optional<std::string> found;
  Cursor cursor{text};
  while (!cursor.done()) {
    const char c = cursor.peek();
    if (!is_digit(c) && c != '\\' && !(c == '.' && is_digit(cursor.peek(1)))) {
      ++cursor.at;
      continue;
    }
    const size_t start = cursor.at;
    if (!cursor.magnitude(/*spaced_mixed=*/false)) {
      cursor.at = std::max(cursor.at + 1, is_digit(c) ? cursor.overlong_end : 0);  // not scanned again
      continue;
    }
    found = std::string(text.substr(start, cursor.at - start));
    size_t sign_end = start;
    if (sign_end > 0 && text[sign_end - 1] == '$') --sign_end;
    const bool ascii_minus = sign_end >= 1 && text[sign_end - 1] == '-';
    const bool long_minus = sign_end >= 3 && text.substr(sign_end - 3, 3) == "\xE2\x88\x92";
    if (ascii_minus || long_minus) {
      const size_t before = sign_end - (ascii_minus ? 1 : 3);
      const char previous = before > 0 ? text[before - 1] : ' ';
      if (!is_digit(previous) && !is_letter(previous) && previous != ')' && previous != '}')
        found->insert(0, "-");
    }
  }
  return found;
}

}  // namespace r1
