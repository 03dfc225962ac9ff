#include "byte_level.h"

#include <array>
#include <cstdint>

#include "utf8.h"

namespace r1 {
namespace {

struct Alphabet {
  std::array<std::string, 256> character;
  std::array<int16_t, 0x144> byte;  // by code point, -1: none
  Alphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      const char32_t code = itself ? static_cast<char32_t>(b) : next++;
      utf8::append(character[b], code);
      byte[code] = static_cast<int16_t>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet a;
  return a;
}

}  // namespace

std::string bytes_to_byte_level(std::string_view bytes) {
  std::string out;
  for (const unsigned char b : bytes) out += alphabet().character[b];
  return out;
}

std::optional<std::string> byte_level_to_bytes(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto c = utf8::decode(text, at);
    if (c.length == 0 || c.code >= alphabet().byte.size() || alphabet().byte[c.code] < 0) return std::nullopt;
    out += static_cast<char>(alphabet().byte[c.code]);
    at += c.length;
  }
  return out;
}

}  // namespace r1
