#include "r1/data/text_examples.h"

#include <algorithm>
#include <iterator>

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

std::vector<TextExample> read_text_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    if (name.ends_with(".jsonl") || name.ends_with(".jsonl.zst")) files.push_back(entry.path());
  }
  if (files.empty()) {
    throw Error(cat(folder.string(), ": ", error ? error.message() : "no file of texts",
                    "; accepted: a folder with at least one .jsonl or .jsonl.zst file."));
  }
  std::sort(files.begin(), files.end());
  std::vector<TextExample> examples;
  for (const auto& file : files) {
    auto more = read_text_examples(file);
    std::move(more.begin(), more.end(), std::back_inserter(examples));
  }
  return examples;
}

}  // namespace r1
