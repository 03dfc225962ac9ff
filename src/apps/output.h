#pragma once
#include <string_view>

namespace r1::apps {

/// Writes `text` to standard output at once, so that a script at the other end of a pipe can answer.
/// Throws Error naming the reason when it cannot be written whole: a result that is lost must not look like
/// success.
void print(std::string_view text);

}  // namespace r1::apps
