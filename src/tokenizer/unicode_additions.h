#pragma once
#include <string>
#include <string_view>

namespace r1 {

/// PCRE2 and utf8proc of Debian 12 and Ubuntu 24.04 know Unicode 14 or 15; the tokenizers that vocabularies
/// are made with know 16.0. These are the characters between, so that text is split alike whatever library is
/// installed.

/// Ranges for inside a character class ("\x{1FADC}-\x{1FADC}..."): the added characters with general category
/// `property`
/// ("L", "Lu", "M", "N", "Nd", "P", "S", ...) or "Alphabetic"; "" for other properties.
std::string unicode_additions(std::string_view property);

bool is_added_character(char32_t code, std::string_view property);

}  // namespace r1
