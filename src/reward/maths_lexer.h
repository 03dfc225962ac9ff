#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace r1::maths {

/// One token of an answer. Letters stand alone unless they make a word.
struct Token {
  enum class Kind {
    kNumber,   ///< text: digits with an optional point, thousands separators left out; see `repeating`,
               ///< `exponent`
    kSymbol,   ///< text: a letter or a word, lower case
    kCommand,  ///< text: the name without the backslash; Unicode signs and spelt-out functions become
               ///< commands
    kSign,     ///< text: one character, "\\" (a row's end), "\{", "\}", "\|"
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  std::string repeating;  ///< the digits under the bar of 0.1\overline{6}
  long exponent = 0;      ///< of "1.5e3"
  bool space_before = false;

  bool is(std::string_view sign) const { return kind == Kind::kSign && text == sign; }
  bool is_command(std::string_view name) const { return kind == Kind::kCommand && text == name; }
};

/// The tokens of `text`, the last of them kEnd. Throws Unreadable above 4,000 tokens.
std::vector<Token> tokens_of(std::string_view text);

}  // namespace r1::maths
