#include "r1/util/config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>

#include "config_scalar.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"
#include "yaml_tree.h"

namespace r1 {

using yaml::Value;
namespace fs = std::filesystem;

struct ConfigNode::State {
  std::shared_ptr<const Value> root;  ///< keeps `section` alive
  const Value* section = nullptr;     ///< a mapping
  std::string path, place;
  std::set<std::string> known;  ///< every key that was asked for
  std::map<std::string, std::shared_ptr<State>> taken;
  std::map<std::string, std::vector<std::shared_ptr<State>>> taken_lists;
};

namespace {

const Value& empty_mapping() {
  static const Value empty = [] {
    Value value;
    value.kind = Value::Kind::kMapping;
    return value;
  }();
  return empty;
}

std::string dotted(const std::string& path, const std::string& key) {
  return path.empty() || key.empty() ? path + key : path + "." + key;
}

// "a group of one has no advantage" -> "\n  A group of one has no advantage."
std::string second_line(std::string sentence) {
  if (sentence.empty()) return "";
  sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
  if (std::string(".?!").find(sentence.back()) == std::string::npos) sentence += '.';
  return "\n  " + sentence;
}

std::string number_text(int64_t value) { return std::to_string(value); }

std::string number_text(double value) {
  char text[64];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return std::string(text, end);
}

// The same value without its quotes reads as a T.
template <typename T>
bool only_quotes_wrong(const Value& value) {
  Value bare = value;
  bare.quoted = false;
  T out{};
  return value.quoted && yaml::to_value(bare, out);
}

void collect_leaves(const Value& value, const std::string& path,
                    std::vector<std::pair<std::string, std::string>>& out) {
  if (value.kind == Value::Kind::kScalar) {
    out.emplace_back(path, value.text);
  } else if (value.items.empty()) {
    const bool list = value.kind == Value::Kind::kList;
    out.emplace_back(path, list ? "[]" : value.kind == Value::Kind::kMapping ? "{}" : "null");
  }
  for (size_t i = 0; i < value.items.size(); ++i) {
    const std::string key = value.kind == Value::Kind::kList ? cat(i) : value.items[i].key;
    collect_leaves(value.items[i], dotted(path, key), out);
  }
}

void require_mapping(Value& root, const std::string& name) {
  if (root.kind == Value::Kind::kNull) root.kind = Value::Kind::kMapping;
  if (root.kind != Value::Kind::kMapping) {
    throw Error(cat(root.place, ": the file is ", yaml::describe(root), "; accepted: `key: value` lines.\n  ",
                    name, " must be a YAML mapping."));
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

std::string read_config_file(const fs::path& file, const std::string& said_by) {
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
  const Value* extends = root.find("extends");
  if (extends == nullptr) return root;
  if (extends->kind != Value::Kind::kScalar || extends->text.empty()) {
    throw Error(cat(extends->place, ": extends is ", yaml::describe(*extends),
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
  const std::string text = read_config_file(base_file, cat(extends->place, ": extends: "));
  Value base = yaml::parse(text, base_file.lexically_normal().string());
  require_mapping(base, base_file.string());
  chain.push_back(base_key);
  base = follow_extends(std::move(base), base_file, chain);
  chain.pop_back();
  std::erase_if(root.items, [](const Value& item) { return item.key == "extends"; });
  yaml::merge(base, std::move(root));
  return base;
}

}  // namespace

template <typename T>
Accept<T> at_least(T low) {
  return {[low](const T& value) { return value >= low; }, number_text(low) + " or more", {}};
}

template <typename T>
Accept<T> above(T low) {
  return {[low](const T& value) { return value > low; }, "above " + number_text(low), {}};
}

template <typename T>
Accept<T> between(T low, T high) {
  return {[low, high](const T& value) { return low <= value && value <= high; },
          number_text(low) + " to " + number_text(high),
          {}};
}

Accept<std::string> one_of(std::vector<std::string> names) {
  const std::string text = join(names, ", ");
  return {[names](const std::string& value) {
            return std::find(names.begin(), names.end(), value) != names.end();
          },
          text, names};
}

template Accept<int64_t> at_least(int64_t);
template Accept<double> at_least(double);
template Accept<int64_t> above(int64_t);
template Accept<double> above(double);
template Accept<int64_t> between(int64_t, int64_t);
template Accept<double> between(double, double);

ConfigNode::ConfigNode() : state_(std::make_shared<State>()) {
  state_->section = &empty_mapping();
  state_->place = "no file";
}

ConfigNode::ConfigNode(std::shared_ptr<State> state) : state_(std::move(state)) {}

ConfigNode ConfigNode::load(const fs::path& file, const std::vector<std::string>& overrides) {
  return parse_text(read_config_file(file, ""), file.string(), overrides);
}

ConfigNode ConfigNode::parse_text(const std::string& yaml, const std::string& name,
                                  const std::vector<std::string>& overrides) {
  auto root = std::make_shared<Value>(yaml::parse(yaml, name));
  require_mapping(*root, name);
  std::vector<fs::path> chain{identity(name)};
  *root = follow_extends(std::move(*root), name, chain);
  for (const auto& text : overrides) yaml::apply_override(*root, text);
  auto state = std::make_shared<State>();
  state->section = root.get();
  state->place = root->place;
  state->root = std::move(root);
  return ConfigNode(std::move(state));
}

bool ConfigNode::has(const std::string& key) const { return state_->section->find(key) != nullptr; }

std::vector<std::string> ConfigNode::keys() const {
  std::vector<std::string> names;
  for (const auto& item : state_->section->items) names.push_back(item.key);
  return names;
}

ConfigNode ConfigNode::child(const std::string& key) const {
  state_->known.insert(key);
  auto& taken = state_->taken[key];
  if (taken != nullptr) return ConfigNode(taken);
  const Value* value = state_->section->find(key);
  const bool empty = value == nullptr || value->kind == Value::Kind::kNull;
  if (!empty && value->kind != Value::Kind::kMapping) {
    reject(key, "a section of `key: value` lines", "");
  }
  auto state = std::make_shared<State>();
  state->root = state_->root;
  state->section = empty ? &empty_mapping() : value;
  state->path = dotted(state_->path, key);
  state->place = value != nullptr ? value->place : state_->place;
  taken = state;
  return ConfigNode(std::move(state));
}

std::vector<ConfigNode> ConfigNode::children(const std::string& key) const {
  state_->known.insert(key);
  const Value* value = state_->section->find(key);
  if (value == nullptr) return {};
  const auto is_mapping = [](const Value& item) { return item.kind == Value::Kind::kMapping; };
  if (value->kind != Value::Kind::kList ||
      !std::all_of(value->items.begin(), value->items.end(), is_mapping)) {
    reject(key, "a list of sections", "start each with `- ` and indent its keys");
  }
  auto& taken = state_->taken_lists[key];
  for (size_t i = taken.size(); i < value->items.size(); ++i) {
    taken.push_back(std::make_shared<State>());
    taken.back()->root = state_->root;
    taken.back()->section = &value->items[i];
    taken.back()->path = dotted(dotted(state_->path, key), cat(i));
    taken.back()->place = value->items[i].place;
  }
  std::vector<ConfigNode> nodes;
  for (const auto& state : taken) nodes.push_back(ConfigNode(state));
  return nodes;
}

template <typename T>
void ConfigNode::read(const std::string& key, T& out, const Accept<T>& accept, const std::string& why) const {
  state_->known.insert(key);
  const Value* value = state_->section->find(key);
  if (value == nullptr) return;
  T parsed{};
  if (!yaml::to_value(*value, parsed)) {
    const std::string hint = only_quotes_wrong<T>(*value) ? "remove the quotes" : why;
    if (!accept.names.empty()) reject(key, accept.text, hint);
    reject(key, yaml::type_name(parsed) + (accept.text.empty() ? "" : ", " + accept.text), hint);
  }
  if (accept.test && !accept.test(parsed)) {
    const std::string near = accept.names.empty() ? "" : nearest(value->text, accept.names);
    reject(key, accept.text, near.empty() || !why.empty() ? why : cat("did you mean ", near, "?"));
  }
  out = std::move(parsed);
}

template <typename T>
void ConfigNode::require(const std::string& key, T& out, const Accept<T>& accept,
                         const std::string& why) const {
  if (!has(key)) {
    state_->known.insert(key);
    const std::string type = accept.names.empty() ? yaml::type_name(T{}) : "";
    reject(key, join({type, accept.text}, type.empty() || accept.text.empty() ? "" : ", "), why);
  }
  read(key, out, accept, why);
}

#define R1_CONFIG_TYPE(T)                                                                             \
  template void ConfigNode::read(const std::string&, T&, const Accept<T>&, const std::string&) const; \
  template void ConfigNode::require(const std::string&, T&, const Accept<T>&, const std::string&) const
R1_CONFIG_TYPE(bool);
R1_CONFIG_TYPE(int64_t);
R1_CONFIG_TYPE(double);
R1_CONFIG_TYPE(std::string);
R1_CONFIG_TYPE(fs::path);
R1_CONFIG_TYPE(std::vector<int64_t>);
R1_CONFIG_TYPE(std::vector<double>);
R1_CONFIG_TYPE(std::vector<std::string>);
#undef R1_CONFIG_TYPE

void ConfigNode::reject_unknown_keys() const {
  const std::vector<std::string> known(state_->known.begin(), state_->known.end());
  for (const auto& item : state_->section->items) {
    const std::string& key = item.key;
    if (state_->known.count(key) == 0) {
      const std::string near = nearest(key, known);
      throw Error(cat(where(key),
                      " is no known key; accepted: ", known.empty() ? "no key" : join(known, ", "), ".",
                      second_line(near.empty() ? "remove it" : cat("did you mean ", near, "?"))));
    }
    const auto child = state_->taken.find(key);
    if (child != state_->taken.end() && child->second != nullptr)
      ConfigNode(child->second).reject_unknown_keys();
    const auto list = state_->taken_lists.find(key);
    if (list == state_->taken_lists.end()) continue;
    for (const auto& state : list->second) ConfigNode(state).reject_unknown_keys();
  }
}

std::string ConfigNode::where(const std::string& key) const {
  const Value* value = key.empty() ? nullptr : state_->section->find(key);
  const std::string path = dotted(state_->path, key);
  const std::string& place = value != nullptr ? value->place : state_->place;
  return path.empty() ? place : place + ": " + path;
}

std::string ConfigNode::path() const { return state_->path; }

void ConfigNode::reject(const std::string& key, const std::string& accepted,
                        const std::string& what_to_do) const {
  const Value* value = key.empty() ? state_->section : state_->section->find(key);
  throw Error(cat(where(key), " is ", value != nullptr ? yaml::describe(*value) : "missing",
                  "; accepted: ", accepted, ".", second_line(what_to_do)));
}

std::string ConfigNode::dump() const { return yaml::dump(*state_->section); }

std::vector<std::pair<std::string, std::string>> ConfigNode::leaves() const {
  std::vector<std::pair<std::string, std::string>> out;
  const std::string root;
  if (!state_->section->items.empty()) collect_leaves(*state_->section, root, out);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace r1
