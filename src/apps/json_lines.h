#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace r1::apps {

/// Answers every JSON object on standard input, one a line, with one line on standard output, at once, so
/// that a script can converse with the command. Blank lines are skipped.
///
/// Throws Error "stdin:<line>: ..." for a line that is no JSON object and for what `answer` throws, and when
/// there is no line at all. Answers of earlier lines have been printed by then.
void answer_json_lines(const std::function<std::string(const nlohmann::json&)>& answer);

/// The members of `object` that are not in `known` are refused: a typo is an error that names the nearest
/// known one.
void reject_unknown_members(const nlohmann::json& object, const std::vector<std::string>& known);

bool is_utf8(const std::string& text);

/// {"text": ...}, with bytes that are no UTF-8 replaced by U+FFFD; then "text_base64" has the exact bytes.
void add_text(nlohmann::ordered_json& row, const std::string& key, const std::string& text);

}  // namespace r1::apps
