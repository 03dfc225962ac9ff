#include "r1/data/preference_examples.h"

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/strings.h"
#include "split.h"

namespace r1 {
namespace {

constexpr const char* kAccepted =
    "; accepted: {\"prompt\", \"chosen\", \"rejected\"} with texts, or {\"prompt\", \"completion\", \"good\": true or false}.";

std::string text_of(const nlohmann::json& row, const char* field, const std::string& where) {
  if (!row.contains(field)) throw Error(cat(where, ": has no \"", field, "\"", kAccepted));
  const auto& value = row.at(field);
  if (!value.is_string()) throw Error(cat(where, ": \"", field, "\" is ", value.type_name(), kAccepted));
  return value.get<std::string>();
}

PreferenceExample parse_row(const nlohmann::json& row, const std::string& where) {
  PreferenceExample example{text_of(row, "prompt", where), {}, {}};
  if (!row.contains("completion")) {
    example.chosen = text_of(row, "chosen", where);
    example.rejected = text_of(row, "rejected", where);
    if (example.chosen == example.rejected) {
      throw Error(cat(where, ": \"chosen\" and \"rejected\" are the same text, so nothing is preferred. Leave the line out."));
    }
    return example;
  }
  const auto text = text_of(row, "completion", where);
  const auto good = row.find("good");
  if (good == row.end() || !good->is_boolean()) throw Error(cat(where, ": \"good\" is not true or false", kAccepted));
  (good->get<bool>() ? example.chosen : example.rejected) = text;
  return example;
}

void read_file_into(const std::filesystem::path& file, std::vector<PreferenceExample>& examples) {
  read_jsonl(file, [&](int64_t line, const nlohmann::json& row) {
    examples.push_back(parse_row(row, cat(file.string(), ":", line)));
  });
}

}  // namespace

std::vector<PreferenceExample> read_preferences(const std::filesystem::path& path) {
  std::vector<PreferenceExample> examples;
  if (!std::filesystem::is_directory(path)) {
    read_file_into(path, examples);
    return examples;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const auto name = entry.path().filename().string();
    if (name.ends_with(".jsonl") || name.ends_with(".jsonl.zst")) files.push_back(entry.path());
  }
  if (files.empty()) throw Error(cat(path.string(), ": no file of preferences; accepted: a folder with .jsonl or .jsonl.zst files."));
  std::sort(files.begin(), files.end());
  for (const auto& file : files) read_file_into(file, examples);
  return examples;
}

PreferenceSet split_preferences(std::vector<PreferenceExample> examples, double eval_fraction) {
  PreferenceSet set;
  const SplitConfig split{.eval_fraction = eval_fraction, .where = {}};
  for (auto& example : examples) {
    (is_held_out_text(example.prompt, split) ? set.eval : set.train).push_back(std::move(example));
  }
  return set;
}

}  // namespace r1
