#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace r1 {

/// How texts are cut into words before they are compared: what n-grams are made of.
///
///   word        a run of letters and digits of any script; each Han, Hiragana or Katakana character is a
///   word by itself no word     white space, punctuation, symbols, control characters, and bytes that are no
///   UTF-8: they only separate case        ASCII, Latin-1, Greek and Cyrillic capitals count as their small
///   letters, full-width ASCII as ASCII
///
/// So "$\frac{1}{2}$ of Tom's" has the words frac 1 2 of tom s.

enum class CharacterClass : uint8_t { kSeparator, kLetter, kWord };

struct Character {
  uint32_t folded = 0;  ///< code point in small letters; 0xFFFD for a byte that is no UTF-8
  uint8_t bytes = 1;
  CharacterClass kind = CharacterClass::kSeparator;
};

/// The character that begins at text[at], at < text.size(). ASCII is handled by the callers below.
Character character_at(std::string_view text, size_t at);

namespace words_detail {

// Letters and digits of ASCII as their small letters; 0 for separators; 1 for the bytes of other scripts.
constexpr std::array<uint8_t, 256> make_ascii_table() {
  std::array<uint8_t, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[static_cast<size_t>(c)] = static_cast<uint8_t>(c);
  for (int c = 'a'; c <= 'z'; ++c) table[static_cast<size_t>(c)] = static_cast<uint8_t>(c);
  for (int c = 'A'; c <= 'Z'; ++c) table[static_cast<size_t>(c)] = static_cast<uint8_t>(c + ('a' - 'A'));
  for (size_t c = 128; c < 256; ++c) table[c] = 1;
  return table;
}
inline constexpr std::array<uint8_t, 256> kAscii = make_ascii_table();

constexpr uint64_t mix(uint64_t h) {  // the finaliser of SplitMix64
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9ULL;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBULL;
  return h ^ (h >> 31);
}

}  // namespace words_detail

/// Calls word(hash, begin, end) for each word of `text`: 64 bits of its folded characters, and its bytes
/// text[begin..end). `word` returns false to stop.
template <typename Word>
void for_each_word(std::string_view text, const Word& word) {
  constexpr uint64_t kStart = 0xCBF29CE484222325ULL, kMultiplier = 0x9E3779B97F4A7C15ULL;
  uint64_t hash = kStart;
  size_t begin = 0;
  bool inside = false;
  const auto end_word = [&](size_t end) {
    if (!inside) return true;
    inside = false;
    const uint64_t done = words_detail::mix(hash);
    hash = kStart;
    return static_cast<bool>(word(done, begin, end));
  };
  for (size_t i = 0; i < text.size();) {
    const uint8_t folded = words_detail::kAscii[static_cast<uint8_t>(text[i])];
    if (folded > 1) {
      if (!inside) begin = i;
      inside = true;
      hash = (hash ^ folded) * kMultiplier;
      ++i;
      continue;
    }
    if (folded == 0) {
      if (!end_word(i)) return;
      ++i;
      continue;
    }
    const Character c = character_at(text, i);
    if (c.kind != CharacterClass::kLetter && !end_word(i)) return;
    if (c.kind != CharacterClass::kSeparator) {
      if (!inside) begin = i;
      inside = true;
      hash = (hash ^ c.folded) * kMultiplier;
    }
    i += c.bytes;
    if (c.kind == CharacterClass::kWord && !end_word(i)) return;
  }
  end_word(text.size());
}

/// One word as it is compared: "TOM" and "ＴＯＭ" are "tom".
std::string folded_word(std::string_view word);

/// What two texts are repeats of each other by: small letters as above, without white space, typographic
/// quotes and dashes as ASCII. Symbols stay: "x + 1" and "x - 1" differ. Bytes that are no UTF-8 stay as they
/// are.
std::string comparable(std::string_view text);

}  // namespace r1
