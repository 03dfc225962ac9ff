#include "json_lines.h"

#include <iostream>

#include "base64.h"
#include "output.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

nlohmann::json parse_line(const std::string& line) {
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    const std::string what =
        error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 7: ..."
    throw Error(
        cat("not JSON: ", what.substr(what.find("] ") + 2),
            "\n  Accepted: one JSON object per line. What was answered before this line is complete."));
  }
  if (!value.is_object()) throw Error(cat("a JSON ", value.type_name(), "; accepted: an object"));
  return value;
}

}  // namespace

void answer_json_lines(const std::function<std::string(const nlohmann::json&)>& answer) {
  std::string line;
  int64_t number = 0, answered = 0;
  while (std::getline(std::cin, line)) {
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    std::string row;
    try {
      row = answer(parse_line(line));
    } catch (const Error& error) {
      throw Error(cat("stdin:", number, ": ", error.what()));
    }
    print(row + "\n");
    ++answered;
  }
  if (answered == 0) throw Error("stdin: no line; accepted: one JSON object per line, see --help");
}

void reject_unknown_members(const nlohmann::json& object, const std::vector<std::string>& known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest(key, known);
    throw Error(cat("unknown member \"", key, "\"; accepted: ", join(known, ", "),
                    near.empty() ? "." : cat(". Did you mean \"", near, "\"?")));
  }
}

bool is_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();  // nlohmann checks every string that it writes
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

void add_text(nlohmann::ordered_json& row, const std::string& key, const std::string& text) {
  row[key] = text;
  if (!is_utf8(text)) row[key + "_base64"] = to_base64(text);
}

}  // namespace r1::apps
