#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace r1::utf8 {

/// One decoded character: `length` bytes, or length 0 when no valid UTF-8 character starts there.
struct Character {
  char32_t code = 0;
  size_t length = 0;
};

/// The character at text[at]; rejects overlong forms, surrogates and codes above U+10FFFF (RFC 3629).
Character decode(std::string_view text, size_t at);

/// Length of the longest valid UTF-8 prefix of `text`.
size_t valid_prefix(std::string_view text);

/// Length of the prefix of `text` that holds no start of a valid character; what follows it is valid or the
/// end.
size_t invalid_prefix(std::string_view text);

void append(std::string& out, char32_t code);

/// Unicode White_Space, general category N* (Nd, Nl, No), and word characters (Alphabetic, M, Nd, Pc).
bool is_space(char32_t code);
bool is_number(char32_t code);
bool is_word(char32_t code);

}  // namespace r1::utf8
