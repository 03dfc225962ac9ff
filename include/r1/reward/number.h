#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

/// The exact value of a written number as a reduced fraction: "1,234.50" -> "2469/2", "\frac{6}{8}" -> "3/4",
/// "-0" -> "0"; nothing when `text` is not one number.
///
/// Read: integers of up to 10,000 digits, decimals, thousands separators in groups of three, a/b, \frac{a}{b}
/// (also
/// \dfrac, \tfrac and \frac12), mixed numbers (3\frac{1}{2}, 3 1/2), a sign (also U+2212), "x =" before it.
/// Dropped: $ and \( \) around it, %, degrees, a trailing dot, and trailing unit words ("18 dollars", "5
/// \text{ cm}"). Not read: exponents, sums, "2 million", "3 or 4", anything with a zero denominator. Exact
/// rationals (GMP), no floating point. Linear in practice, never throws.
std::optional<std::string> canonical_number(std::string_view text);

/// The last number in running text as it is written there ("in all $1,234." -> "1,234"), or nothing.
/// A minus counts as a sign unless it follows a letter, a digit or a closing bracket.
std::optional<std::string> last_number(std::string_view text);

}  // namespace r1
