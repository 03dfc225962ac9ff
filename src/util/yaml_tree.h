#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace r1::yaml {

/// A YAML document as plain values, each with the place that wrote it. Keys keep the file's order.
struct Value {
  enum class Kind { kNull, kScalar, kList, kMapping };
  Kind kind = Kind::kNull;
  std::string text;     ///< of a scalar
  bool quoted = false;  ///< a scalar in quotes or a block scalar: always text, never a number
  std::string key;      ///< of a mapping's item
  std::vector<Value> items;
  std::string place;  ///< "configs/a.yaml:14", the line of the key; "command line" for overrides

  const Value* find(std::string_view key) const;
  Value* find(std::string_view key);
};

/// Parses one YAML document called `name`. An empty document is a null.
/// Throws r1::Error "<name>:<line>:<column>: ..." for broken YAML, a second document, a key that is repeated,
/// empty, dotted or no scalar, an explicit type tag, nesting deeper than 64, and more than 100,000 values
/// (aliases counted).
Value parse(const std::string& text, const std::string& name);

/// Writes `over` over `base`: mappings merge key by key, an empty section (`grpo:`) over a mapping changes
/// nothing, everything else replaces. Places are those of the last writer.
void merge(Value& base, Value over);

/// Applies "a.b=value" (list items by index: "stages.0.lr=1"). Throws r1::Error "command line: ...".
void apply_override(Value& root, const std::string& text);

/// Block YAML that parses to the same values.
std::string dump(const Value& value);

/// One line for an error message: "1", "'a b'", "[1, 2]", "{lr: 1}", "empty"; cut at 60 bytes.
std::string describe(const Value& value);

}  // namespace r1::yaml
