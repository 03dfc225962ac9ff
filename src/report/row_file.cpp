#include "row_file.h"

#include <limits>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::report {

using nlohmann::json;

bool read_rows(const std::filesystem::path& file, const std::function<void(int64_t, const json&)>& row) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return true;
  const std::string text = read_file(file);
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++line;
    const size_t newline = text.find('\n', begin);
    const size_t end = newline == std::string::npos ? text.size() : newline;
    const std::string_view words(text.data() + begin, end - begin);
    begin = end + 1;
    if (words.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const json value = json::parse(words.begin(), words.end(), nullptr, /*allow_exceptions=*/false);
    if (value.is_object()) {
      row(line, value);
    } else if (newline == std::string::npos) {
      return false;
    } else {
      const json shown = std::string(words.substr(0, 60));
      throw Error(cat(file.string(), ":", line,
                      ": no JSON object: ", shown.dump(-1, ' ', true, json::error_handler_t::replace),
                      words.size() > 60 ? "..." : "",
                      "; accepted: one JSON object per line.\n  Remove the line; the rest can be read."));
    }
  }
  return true;
}

bool is_number(const json& value, double& number) {
  if (value.is_number()) {
    number = value.get<double>();
    return true;
  }
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  if (text == "NaN") {
    number = std::numeric_limits<double>::quiet_NaN();
  } else if (text == "Infinity" || text == "-Infinity") {
    number = (text[0] == '-' ? -1 : 1) * std::numeric_limits<double>::infinity();
  } else {
    return false;
  }
  return true;
}

double number_of(const json& object, const char* name, double absent) {
  double number = 0;
  const auto it = object.find(name);
  return it != object.end() && is_number(*it, number) ? number : absent;
}

std::string text_of(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace r1::report
