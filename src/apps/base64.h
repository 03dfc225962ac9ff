#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace r1::apps {

/// Base64 with padding, RFC 4648 section 4.
std::string to_base64(std::string_view bytes);

/// nullopt unless `text` is exactly what to_base64 would have made: no white space, padded, no stray bits.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace r1::apps
