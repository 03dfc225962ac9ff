#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace r1 {

/// What a value must satisfy, and how that is said: {test, "2 or more"}.
template <typename T>
struct Accept {
  std::function<bool(const T&)> test;  ///< empty: everything of type T
  std::string text;
  std::vector<std::string> names;  ///< of one_of: the nearest one is suggested
};

template <typename T>
Accept<T> at_least(T low);
template <typename T>
Accept<T> above(T low);
template <typename T>
Accept<T> between(T low, T high);  ///< both ends included
Accept<std::string> one_of(std::vector<std::string> names);

/// A mapping of a YAML file with the place of every key, so that each error names file:line: key.
///
/// Copies share what has been read, so `Config::parse(ConfigNode node)` takes it by value and
/// `reject_unknown_keys` sees every key that was read through any copy. Merging (`extends: base.yaml`,
/// relative to the file that says it; mappings merge, an empty `section:` over a mapping changes nothing,
/// everything else replaces) and `a.b=value` overrides (list items by index: `stages.0.lr=1`) keep the place
/// of the key's last writer
/// ("command line" for overrides). Refused: repeated, dotted and empty keys, type tags, merge keys, a second
/// document.
class ConfigNode {
 public:
  ConfigNode();  ///< an empty section, every key absent
  /// Reads a file, follows `extends`, applies `overrides` ("train.lr=1e-4"; the value is YAML).
  /// Throws Error: missing file (naming the nearest one there), broken YAML (file:line:column), an override
  /// of no `key=value` form, a cycle of `extends`.
  static ConfigNode load(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
  static ConfigNode parse_text(const std::string& yaml, const std::string& name,
                               const std::vector<std::string>& overrides = {});

  bool has(const std::string& key) const;  ///< present, with a value or empty; does not mark the key as read
  std::vector<std::string> keys() const;
  /// The mapping under `key`; an empty one, with this node's place, when absent. Marks the key as read.
  /// Throws Error for a value that is no mapping.
  ConfigNode child(const std::string& key) const;
  /// A sequence of mappings; empty when absent.
  std::vector<ConfigNode> children(const std::string& key) const;

  /// Reads an optional key into `out`; leaves `out` alone when absent. Marks the key as read.
  /// T: bool, int64_t, double, std::string, std::filesystem::path, and std::vector of int64_t, double,
  /// std::string. `why` is the second line of the error of a rejected value. Integers accept 1e6 and 1_000
  /// forms; numbers .inf. A quoted value is text and never a number. Throws Error for a wrong type, an empty
  /// value, and when not accepted.
  template <typename T>
  void read(const std::string& key, T& out, const Accept<T>& accept = {}, const std::string& why = "") const;
  /// As read, but an absent key is an error that names the section's place.
  template <typename T>
  void require(const std::string& key, T& out, const Accept<T>& accept = {},
               const std::string& why = "") const;

  /// Throws for the first key never read, naming the nearest known one. Recurses into children that were
  /// taken.
  void reject_unknown_keys() const;

  /// "configs/a.yaml:14: grpo.group_size" of a key, or of the section's own place when the key is absent.
  /// The empty key is the section itself.
  std::string where(const std::string& key) const;
  std::string path() const;  ///< "grpo", "" at the root
  /// Throws Error("<where>: <key path> is <value>; accepted: <accepted>.\n  <what_to_do>").
  [[noreturn]] void reject(const std::string& key, const std::string& accepted,
                           const std::string& what_to_do) const;

  /// The merged file as YAML: what a run directory keeps.
  std::string dump() const;
  /// (dotted key, scalar as text) of every leaf, sorted: what resume compares. List items have their index as
  /// key.
  std::vector<std::pair<std::string, std::string>> leaves() const;

 private:
  struct State;
  explicit ConfigNode(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace r1
