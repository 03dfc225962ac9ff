#include "letters.h"

#include <algorithm>
#include <iterator>

namespace r1 {
namespace {

struct Range {
  char32_t first, last;
  Script script;
};

// Blocks of The Unicode Standard, ascending; inside a block of letters signs are rare.
constexpr Range kRanges[] = {
    {U'A', U'Z', Script::kLatin},     {U'a', U'z', Script::kLatin},
    {0xC0, 0xD6, Script::kLatin},     {0xD8, 0xF6, Script::kLatin},
    {0xF8, 0x2AF, Script::kLatin},   // Latin-1, Extended A and B, IPA
    {0x370, 0x3FF, Script::kOther},  // Greek
    {0x400, 0x58F, Script::kOther},  // Cyrillic, Armenian
    {0x5D0, 0x5F4, Script::kOther},  // Hebrew
    {0x620, 0x65F, Script::kOther},  // Arabic; its digits and signs are not among them
    {0x66E, 0x6D3, Script::kOther},   {0x6FA, 0x7FF, Script::kOther},
    {0x900, 0x963, Script::kOther},                                      // Devanagari
    {0x980, 0xDFF, Script::kOther},                                      // Bengali to Sinhala
    {0xE01, 0xE4E, Script::kOther},                                      // Thai
    {0xE81, 0xECF, Script::kOther},                                      // Lao
    {0xF40, 0xFBC, Script::kOther},                                      // Tibetan
    {0x1000, 0x103F, Script::kOther},                                    // Burmese
    {0x10A0, 0x11FF, Script::kOther},                                    // Georgian, Hangul parts
    {0x1200, 0x137F, Script::kOther},                                    // Ethiopic
    {0x1780, 0x17B3, Script::kOther},                                    // Khmer
    {0x1820, 0x18AF, Script::kOther},                                    // Mongolian
    {0x1E00, 0x1EFF, Script::kLatin},                                    // Latin Extended Additional
    {0x1F00, 0x1FFF, Script::kOther},                                    // Greek Extended
    {0x3005, 0x3007, Script::kHan},                                      // iteration and closing marks, zero
    {0x3041, 0x30FF, Script::kKana},  {0x3131, 0x318E, Script::kOther},  // Hangul letters
    {0x31F0, 0x31FF, Script::kKana},  {0x3400, 0x4DBF, Script::kHan},    // Extension A
    {0x4E00, 0x9FFF, Script::kHan},   {0xA000, 0xA4CF, Script::kOther},  // Yi
    {0xAC00, 0xD7A3, Script::kOther},                                    // Hangul
    {0xF900, 0xFAFF, Script::kHan},                                      // compatibility
    {0xFF21, 0xFF3A, Script::kLatin},                                    // full width
    {0xFF41, 0xFF5A, Script::kLatin}, {0xFF66, 0xFF9D, Script::kKana},   // half width
    {0x20000, 0x323AF, Script::kHan},                                    // Extensions B to H
};

}  // namespace

Script script_of(char32_t code_point) {
  const auto* range = std::upper_bound(std::begin(kRanges), std::end(kRanges), code_point,
                                       [](char32_t value, const Range& r) { return value < r.first; });
  if (range == std::begin(kRanges) || code_point > std::prev(range)->last) return Script::kNone;
  return std::prev(range)->script;
}

char32_t take_code_point(std::string_view& text) {
  constexpr char32_t kBroken = 0xFFFD;
  const auto first = static_cast<unsigned char>(text.front());
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 1) {
    text.remove_prefix(1);
    return first;
  }
  if (length == 0 || length > text.size()) {
    text.remove_prefix(1);
    return kBroken;
  }
  char32_t value = first & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xC0) != 0x80) {
      text.remove_prefix(1);
      return kBroken;
    }
    value = (value << 6) | (next & 0x3F);
  }
  text.remove_prefix(length);
  return value;
}

}  // namespace r1
