#include "r1/util/config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>

#include "config_file.h"
#include "config_scalar.h"
#include "r1/util/error.h"
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
  return parse_text(yaml::read_config_file(file), file.string(), overrides);
}

ConfigNode ConfigNode::parse_text(const std::string& yaml, const std::string& name,
                                  const std::vector<std::string>& overrides) {
  auto root = std::make_shared<Value>(yaml::parse_config(yaml, name));
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
