#pragma once
#include <cstdint>
#include <string_view>

namespace r1 {

/// What kind of letter a code point is.
enum class Script {
  kNone,   ///< no letter
  kLatin,  ///< with its accents
  kHan,
  kKana,
  kOther,  ///< letters of all other scripts
};
Script script_of(char32_t code_point);

/// Takes one code point off the front of `text`, which is not empty; U+FFFD and one byte for what is no
/// UTF-8.
char32_t take_code_point(std::string_view& text);

}  // namespace r1
