#pragma once
#include <gmpxx.h>

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

/// A written number: its exact value and the unit that followed it ("" when none, lower case, no plural s).
struct WrittenNumber {
  mpq_class value;
  std::string unit;
};

/// Reads all of `text` (already through plain_maths) as one number; see canonical_number for what is
/// accepted.
std::optional<WrittenNumber> parse_written_number(std::string_view text);

/// Whether a lower-case word after a number can be its unit: no "million", "half" or "plus", and of less than
/// three letters only cm, kg and their like.
bool may_be_unit(std::string_view word);

/// `text` with its LaTeX wrapping taken off, as numbers and texts are compared: \text{..}, \boxed{..} and
/// their like become their content, $ and \( \) and spacing commands become spaces, \dfrac becomes \frac,
/// U+2212 becomes -,
/// {,} becomes a comma, \left and \right go. Trimmed.
std::string plain_maths(std::string_view text);

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace r1
