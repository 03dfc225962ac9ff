#include "r1/data/problem_fields.h"

#include <algorithm>
#include <initializer_list>

#include "r1/util/strings.h"

namespace r1 {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text;
}

/// The row's own spelling of the first of `names` that it has; empty when it has none.
std::string field_of(const nlohmann::json& row, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    for (const auto& item : row.items()) {
      if (lower(item.key()) == name) return item.key();
    }
  }
  return "";
}

bool is_text(const nlohmann::json& row, const std::string& field) {
  return !field.empty() && row[field].is_string();
}

}  // namespace

std::optional<ProblemFields> recognise_fields(const nlohmann::json& row) {
  ProblemFields fields;
  if (is_text(row, field_of(row, {"test"})) && is_text(row, field_of(row, {"entry_point"}))) {
    fields = {"humaneval", field_of(row, {"prompt"}), field_of(row, {"test"}), ""};
    if (is_text(row, fields.prompt)) return fields;
  }
  if (const auto tests = field_of(row, {"test_list"}); !tests.empty() && row[tests].is_array()) {
    fields = {"mbpp", field_of(row, {"text", "prompt", "question"}), tests, ""};
    if (is_text(row, fields.prompt)) return fields;
  }
  fields.prompt = field_of(row, {"question", "problem", "prompt", "instruction", "query"});
  if (!is_text(row, fields.prompt)) return std::nullopt;
  fields.answer = field_of(row, {"answer", "final_answer", "expected_answer", "gold", "target"});
  if (!fields.answer.empty()) {
    const auto& answer = row[fields.answer];
    const bool marked =
        answer.is_string() && answer.get_ref<const std::string&>().find("####") != std::string::npos;
    fields.form = marked ? "gsm8k" : "answer";
    fields.answer_after = marked ? "####" : "";
    return fields;
  }
  fields.answer = field_of(row, {"solution"});
  fields.form = "solution";
  if (!is_text(row, fields.answer) || boxed_answer(row[fields.answer].get<std::string>()).empty())
    return std::nullopt;
  return fields;
}

nlohmann::json code_asserts(const nlohmann::json& row, const ProblemFields& fields) {
  nlohmann::json asserts = nlohmann::json::array();
  if (fields.form == "humaneval") {
    const auto test = row.find(fields.answer), name = row.find(field_of(row, {"entry_point"}));
    if (test == row.end() || name == row.end() || !test->is_string() || !name->is_string()) return asserts;
    asserts.push_back(cat(test->get<std::string>(), "\n\ncheck(", name->get<std::string>(), ")\n"));
    return asserts;
  }
  const auto setup = row.value("test_setup_code", nlohmann::json());
  const auto tests = row.find(fields.answer);
  if (tests == row.end() || !tests->is_array()) return asserts;
  for (const auto& test : *tests) {
    if (!test.is_string()) continue;
    const bool has_setup = setup.is_string() && !setup.get_ref<const std::string&>().empty();
    asserts.push_back((has_setup ? setup.get<std::string>() + "\n" : "") + test.get<std::string>());
  }
  return asserts;
}

std::string boxed_answer(std::string_view solution) {
  constexpr std::string_view kBoxed = "\\boxed";
  const size_t mark = solution.rfind(kBoxed);
  if (mark == std::string_view::npos) return "";
  size_t begin = solution.find_first_not_of(" \t\n", mark + kBoxed.size());
  if (begin == std::string_view::npos) return "";
  if (solution[begin] != '{') {  // "\boxed 5": up to the end of the formula
    return std::string(solution.substr(begin, solution.find_first_of("$ \t\n.,", begin) - begin));
  }
  int depth = 0;
  for (size_t i = begin; i < solution.size(); ++i) {
    if (solution[i] == '\\') {
      ++i;
    } else if (solution[i] == '{') {
      ++depth;
    } else if (solution[i] == '}' && --depth == 0) {
      return std::string(solution.substr(begin + 1, i - begin - 1));
    }
  }
  return "";
}

}  // namespace r1
