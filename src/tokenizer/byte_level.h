#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

/// GPT-2's printable alphabet for bytes: bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves as
/// characters, the other 68 are U+0100, U+0101, ... in their order (so a space is U+0120). Files of
/// byte-level vocabularies use it.
std::string bytes_to_byte_level(std::string_view bytes);

/// The inverse; nullopt when `text` holds a character outside the alphabet.
std::optional<std::string> byte_level_to_bytes(std::string_view text);

}  // namespace r1
