#include "r1/data/text_examples.h"

#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr const char* kAccepted = "; accepted: {\"prompt\": text, \"completion\": text} or {\"text\": text}.";

std::string text_of(const nlohmann::json& row, const char* field, const std::string& where) {
  const auto& value = row.at(field);
  if (!value.is_string()) throw Error(cat(where, ": \"", field, "\" is ", value.type_name(), kAccepted));
  if (value.get_ref<const std::string&>().empty())
    throw Error(cat(where, ": \"", field, "\" is empty", kAccepted));
  return value.get<std::string>();
}

}  // namespace

std::vector<TextExample> read_text_examples(const std::filesystem::path& file) {
  std::vector<TextExample> examples;
  read_jsonl(file, [&](int64_t line, const nlohmann::json& row) {
    const std::string where = cat(file.string(), ":", line);
    const bool has_prompt = row.contains("prompt"), has_completion = row.contains("completion");
    if (row.contains("text")) {
      if (has_prompt || has_completion)
        throw Error(cat(where, ": \"text\" beside \"prompt\" or \"completion\"", kAccepted));
      examples.push_back({"", text_of(row, "text", where)});
      return;
    }
    if (!has_prompt && !has_completion) {
      std::vector<std::string> names;
      for (const auto& item : row.items()) names.push_back(item.key());
      throw Error(cat(where, ": has ", names.empty() ? "no field" : join(names, ", "), kAccepted));
    }
    if (!has_completion) throw Error(cat(where, ": has no \"completion\"", kAccepted));
    if (!has_prompt) throw Error(cat(where, ": has no \"prompt\"", kAccepted));
    examples.push_back({text_of(row, "prompt", where), text_of(row, "completion", where)});
  });
  return examples;
}

}  // namespace r1
