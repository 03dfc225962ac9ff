#include "r1/data/row_texts.h"

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

using nlohmann::json;

constexpr const char* kQuestionFields[] = {"question", "problem", "prompt", "instruction", "query", "input"};
constexpr const char* kOtherFields[] = {
    "text",          "completion",         "response",  "output",     "answer",
    "solution",      "reasoning",          "thinking",  "content",    "code",
    "test",          "canonical_solution", "chosen",    "rejected",   "messages",
    "conversations", "conversation",       "test_list", "generation", "generations",
    "system",        "reasoning_content"};

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text;
}

template <typename Names>
bool is_one_of(const std::string& name, const Names& names) {
  return std::any_of(std::begin(names), std::end(names), [&](const char* known) { return name == known; });
}

void add_texts(const std::string& field, const json& value, bool is_question, std::vector<RowText>& texts) {
  if (value.is_string()) {
    texts.push_back({field, value.get_ref<const std::string&>(), is_question});
    return;
  }
  if (!value.is_array()) return;
  for (size_t i = 0; i < value.size(); ++i) {
    const json& item = value[i];
    const std::string name = cat(field, "[", i, "]");
    if (item.is_string()) texts.push_back({name, item.get_ref<const std::string&>(), is_question});
    if (!item.is_object()) continue;
    for (const char* key : {"content", "value", "text"}) {
      const auto found = item.find(key);
      if (found == item.end() || !found->is_string()) continue;
      texts.push_back({name, found->get_ref<const std::string&>(), is_question});
      break;
    }
  }
}

}  // namespace

std::vector<RowText> row_texts(const json& row, const std::vector<std::string>& fields) {
  std::vector<RowText> texts;
  if (!row.is_object()) return texts;
  for (const auto& item : row.items()) {
    const std::string name = lower(item.key());
    const bool is_question = is_one_of(name, kQuestionFields);
    const bool wanted = fields.empty() ? is_question || is_one_of(name, kOtherFields)
                                       : std::find(fields.begin(), fields.end(), item.key()) != fields.end();
    if (wanted) add_texts(item.key(), item.value(), is_question, texts);
  }
  return texts;
}

std::string row_id(const json& row) {
  for (const char* name : {"id", "ID", "task_id", "problem_id", "unique_id", "uuid"}) {
    const auto found = row.find(name);
    if (found == row.end()) continue;
    if (found->is_string()) return found->get<std::string>();
    if (found->is_number()) return found->dump();
  }
  return "";
}

void read_rows(const std::filesystem::path& file, const std::function<void(const DataRow&)>& row) {
  if (file.extension() != ".json") {
    read_jsonl_lines(file,
                     [&](const JsonLine& line) { row({line.number, line.value, line.raw, line.part}); });
  } else {
    read_json_array(file, row);
  }
}

void read_json_array(const std::filesystem::path& file, const std::function<void(const DataRow&)>& row) {
  json array;
  try {
    array = json::parse(read_file(file));
  } catch (const json::exception& error) {
    throw Error(cat(file.string(), ": not readable as JSON (", error.what(),
                    "); accepted: one array of objects.\n  For one object per line use the ending .jsonl "
                    "(kind: jsonl)."));
  }
  if (!array.is_array() || array.empty()) {
    throw Error(cat(
        file.string(), ": holds ", array.is_array() ? "an empty array" : array.type_name(),
        "; accepted: one array of objects.\n  For one object per line use the ending .jsonl (kind: jsonl)."));
  }
  for (size_t i = 0; i < array.size(); ++i) {
    if (!array[i].is_object())
      throw Error(
          cat(file.string(), ": element ", i, " is ", array[i].type_name(), "; accepted: an object."));
    const std::string raw = array[i].dump(-1, ' ', false, json::error_handler_t::replace);
    row({static_cast<int64_t>(i), array[i], raw,
         static_cast<double>(i + 1) / static_cast<double>(array.size())});
  }
}

std::string row_place(const std::filesystem::path& file, int64_t line) {
  return file.extension() == ".json" ? cat(file.string(), ": element ", line) : cat(file.string(), ":", line);
}

}  // namespace r1
