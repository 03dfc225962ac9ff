#include "words.h"

namespace r1 {
namespace {

constexpr uint32_t kNoCharacter = 0xFFFD;

bool between(uint32_t c, uint32_t low, uint32_t high) { return c >= low && c <= high; }

uint32_t to_small(uint32_t c) {
  if (between(c, 0xFF01, 0xFF5E)) c -= 0xFEE0;  // full-width forms of ASCII
  if (between(c, 'A', 'Z')) return c + 32;
  if (between(c, 0xC0, 0xDE) && c != 0xD7) return c + 32;
  if (between(c, 0x391, 0x3A9)) return c + 32;
  if (between(c, 0x410, 0x42F)) return c + 32;
  if (between(c, 0x400, 0x40F)) return c + 80;
  return c;
}

bool is_one_word(uint32_t c) {
  return between(c, 0x4E00, 0x9FFF) || between(c, 0x3400, 0x4DBF) || between(c, 0x3041, 0x30FF) ||
         between(c, 0xF900, 0xFAFF) || between(c, 0x20000, 0x3FFFF);
}

// Punctuation, symbols and spaces beyond ASCII, by blocks.
bool is_separator(uint32_t c) {
  if (c == 0xAA || c == 0xB5 || c == 0xBA) return false;              // letters among the symbols of Latin-1
  if (between(c, 0x80, 0xBF) || c == 0xD7 || c == 0xF7) return true;  // Latin-1 controls and symbols
  if (between(c, 0x2000, 0x206F) || between(c, 0x20A0, 0x20CF)) return true;  // general punctuation, currency
  if (between(c, 0x2190, 0x2BFF)) return true;  // arrows, mathematics, boxes, signs
  if (between(c, 0x3000, 0x303F) && c != 0x3005 && c != 0x3007) return true;  // CJK punctuation
  if (between(c, 0x2E00, 0x2E7F) || between(c, 0xFE30, 0xFE4F) || between(c, 0xFE50, 0xFE6F)) return true;
  if (between(c, 0xE000, 0xF8FF) || between(c, 0xFE00, 0xFE0F) || c == 0xFEFF) return true;
  if (between(c, 0x1F000, 0x1FAFF) || c == 0x1680 || c == kNoCharacter) return true;  // pictures
  return between(c, 0xFF00, 0xFFEF) && !between(c, 0xFF10, 0xFF19) && !between(c, 0xFF21, 0xFF3A) &&
         !between(c, 0xFF41, 0xFF5A) && !between(c, 0xFF66, 0xFFDC);
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 63));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

// What the typographic form of a sign stands for; 0 for white space, which is left out.
uint32_t plain_sign(uint32_t c) {
  if (c == ' ' || between(c, '\t', '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 ||
      between(c, 0x2000, 0x200B) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000 ||
      c == 0xFEFF) {
    return 0;
  }
  if (between(c, 0x2018, 0x201B)) return '\'';
  if (between(c, 0x201C, 0x201F)) return '"';
  if (between(c, 0x2010, 0x2015) || c == 0x2212) return '-';
  if (c == 0x3002) return '.';
  return c;
}

}  // namespace

Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return at + i < text.size() ? static_cast<uint8_t>(text[at + i]) : 0U; };
  const auto follows = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const uint32_t first = byte(0);
  Character c{kNoCharacter, 1, CharacterClass::kSeparator};
  uint32_t code = kNoCharacter;
  if (first < 0x80) {
    code = first;
  } else if (between(first, 0xC2, 0xDF) && follows(1)) {
    code = ((first & 0x1F) << 6) | (byte(1) & 0x3F);
    c.bytes = 2;
  } else if (between(first, 0xE0, 0xEF) && follows(1) && follows(2)) {
    code = ((first & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F);
    if (code < 0x800 || between(code, 0xD800, 0xDFFF)) return c;
    c.bytes = 3;
  } else if (between(first, 0xF0, 0xF4) && follows(1) && follows(2) && follows(3)) {
    code = ((first & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F);
    if (!between(code, 0x10000, 0x10FFFF)) return c;
    c.bytes = 4;
  } else {
    return c;
  }
  c.folded = to_small(code);
  if (code < 0x80) {
    c.kind = words_detail::kAscii[code] > 1 ? CharacterClass::kLetter : CharacterClass::kSeparator;
  } else if (is_one_word(code)) {
    c.kind =
        code == 0x30FB ? CharacterClass::kSeparator : CharacterClass::kWord;  // the middle dot of Katakana
  } else {
    c.kind = is_separator(code) ? CharacterClass::kSeparator : CharacterClass::kLetter;
  }
  return c;
}

std::string folded_word(std::string_view word) {
  std::string out;
  for (size_t i = 0; i < word.size();) {
    const Character c = character_at(word, i);
    append_utf8(out, c.folded);
    i += c.bytes;
  }
  return out;
}

std::string comparable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Character c = character_at(text, i);
    if (c.folded == kNoCharacter) {
      out.append(text.substr(i, c.bytes));
    } else if (const uint32_t sign = plain_sign(c.folded); sign != 0) {
      append_utf8(out, sign);
    } else if (c.folded == 0) {
      out += '\0';
    }
    i += c.bytes;
  }
  return out;
}

}  // namespace r1
