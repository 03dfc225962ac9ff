#include <algorithm>
#include <charconv>
#include <cmath>

#include "r1/reward/code.h"

namespace r1 {
namespace {

std::string_view take_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  const auto line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line;
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view take_word(std::string_view& line) {
  line = trim(line);
  const auto end = std::find_if(line.begin(), line.end(), is_space);
  const auto word = line.substr(0, size_t(end - line.begin()));
  line.remove_prefix(word.size());
  return word;
}

std::optional<double> finite_number(std::string_view word) {
  if (word.starts_with('+')) word.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

bool same_word(std::string_view word, std::string_view expected, double tolerance) {
  if (word == expected) return true;
  if (tolerance <= 0) return false;
  const auto a = finite_number(word), e = finite_number(expected);
  return a && e && std::abs(*a - *e) <= tolerance * std::max(1.0, std::abs(*e));
}

bool same_line(std::string_view line, std::string_view expected, double tolerance) {
  for (;;) {
    const auto word = take_word(line), other = take_word(expected);
    if (word.empty() || other.empty()) return word.empty() && other.empty();
    if (!same_word(word, other, tolerance)) return false;
  }
}

bool marks(std::string_view mark, CodeLanguage language) {
  std::string lower(mark);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return char(std::tolower(c)); });
  if (language == CodeLanguage::kPython) return lower == "python" || lower == "py" || lower == "python3";
  return lower == "cpp" || lower == "c++" || lower == "cc" || lower == "cxx";
}

bool is_text(const nlohmann::json& json, const char* key) {
  return json.contains(key) && json[key].is_string();
}

}  // namespace

std::optional<CodeTask> code_task(const nlohmann::json& extra) {
  if (!extra.is_object() || extra.contains("tests") == extra.contains("asserts")) return std::nullopt;
  CodeTask task;
  if (extra.contains("tests")) {
    if (!extra["tests"].is_array()) return std::nullopt;
    for (const auto& test : extra["tests"]) {
      if (!test.is_object() || !is_text(test, "stdin") || !is_text(test, "stdout")) return std::nullopt;
      task.pairs.push_back({test["stdin"].get<std::string>(), test["stdout"].get<std::string>()});
    }
  } else if (extra["asserts"].is_string()) {
    task.asserts.push_back(extra["asserts"].get<std::string>());
  } else if (extra["asserts"].is_array()) {
    for (const auto& test : extra["asserts"]) {
      if (!test.is_string()) return std::nullopt;
      task.asserts.push_back(test.get<std::string>());
    }
  }
  if (task.pairs.empty() && task.asserts.empty()) return std::nullopt;
  return task;
}

std::optional<std::string> extract_code(std::string_view completion, CodeLanguage language,
                                        bool think_opened) {
  const std::string text = without_thinking(completion, think_opened);
  std::string_view rest = text;
  std::optional<std::string> marked, unmarked;
  while (!rest.empty()) {
    const auto opening = trim(take_line(rest));
    if (!opening.starts_with("```")) continue;
    const auto mark = trim(opening.substr(3));
    const char* begin = rest.data();
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (trim(line) != "```") continue;
      std::string code(begin, size_t(line.data() - begin));
      if (marks(mark, language)) {
        marked = std::move(code);
      } else if (mark.empty()) {
        unmarked = std::move(code);
      }
      break;
    }
  }
  return marked ? marked : unmarked;
}

bool same_output(std::string_view output, std::string_view expected, double tolerance) {
  while (!output.empty() && is_space(output.back())) output.remove_suffix(1);
  while (!expected.empty() && is_space(expected.back())) expected.remove_suffix(1);
  while (!output.empty() && !expected.empty()) {
    if (!same_line(take_line(output), take_line(expected), tolerance)) return false;
  }
  return output.empty() && expected.empty();
}

}  // namespace r1
