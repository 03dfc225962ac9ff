#include "config_file.h"

#include <algorithm>
#include <vector>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::yaml {

namespace fs = std::filesystem;

namespace {

void require_mapping(Value& root, const std::string& name) {
  if (root.kind == Value::Kind::kNull) root.kind = Value::Kind::kMapping;
  if (root.kind != Value::Kind::kMapping) {
    throw Error(cat(root.place, ": the file is ", describe(root), "; accepted: `key: value` lines.\n  ", name,
                    " must be a YAML mapping."));
  }
  if (root.place.empty()) root.place = name + ":1";
}

std::string missing_file_hint(const fs::path& file) {
  std::vector<std::string> names;
  std::error_code error;
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  const std::string near = nearest(file.filename().string(), names);
  if (!near.empty()) return cat("\n  Did you mean ", (file.parent_path() / near).string(), "?");
  return "\n  Give the path of a YAML file, from the current folder.";
}

std::string read_existing(const fs::path& file, const std::string& said_by) {
  std::error_code error;
  if (fs::exists(file, error) || error) return read_file(file);
  throw Error(
      cat(said_by, file.string(), " does not exist; accepted: a YAML file.", missing_file_hint(file)));
}

fs::path identity(const fs::path& file) {
  std::error_code error;
  const fs::path canonical = fs::weakly_canonical(file, error);
  return error ? file.lexically_normal() : canonical;
}

// `chain`: the files that are being read now, the first one first.
Value follow_extends(Value root, const fs::path& file, std::vector<fs::path>& chain) {
  for (auto& item : root.items) {  // a section may take its keys from a file of its own: `model: {extends: ...}`
    if (item.kind != Value::Kind::kMapping) continue;
    const std::string key = item.key;
    item = follow_extends(std::move(item), file, chain);
    item.key = key;
  }
  const Value* extends = root.find("extends");
  if (extends == nullptr) return root;
  if (extends->kind != Value::Kind::kScalar || extends->text.empty()) {
    throw Error(cat(extends->place, ": extends is ", describe(*extends),
                    "; accepted: the path of one YAML file, relative to this one."));
  }
  const fs::path base_file = file.parent_path() / extends->text;
  const fs::path base_key = identity(base_file);
  if (std::find(chain.begin(), chain.end(), base_key) != chain.end()) {
    std::vector<std::string> names;
    for (const auto& link : chain) names.push_back(link.filename().string());
    names.push_back(base_key.filename().string());
    throw Error(cat(extends->place, ": extends is ", extends->text, ", a cycle: ", join(names, " -> "),
                    "; accepted: a file that does not lead back here."));
  }
  const std::string text = read_existing(base_file, cat(extends->place, ": extends: "));
  Value base = parse(text, base_file.lexically_normal().string());
  require_mapping(base, base_file.string());
  chain.push_back(base_key);
  base = follow_extends(std::move(base), base_file, chain);
  chain.pop_back();
  std::erase_if(root.items, [](const Value& item) { return item.key == "extends"; });
  merge(base, std::move(root));
  return base;
}

}  // namespace

std::string read_config_file(const fs::path& file) { return read_existing(file, ""); }

Value parse_config(const std::string& text, const std::string& name) {
  Value root = parse(text, name);
  require_mapping(root, name);
  std::vector<fs::path> chain{identity(name)};
  return follow_extends(std::move(root), name, chain);
}

}  // namespace r1::yaml
