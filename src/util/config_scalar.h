#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "yaml_tree.h"

namespace r1::yaml {

// to_value(value, out): false when `value` is not of out's type. `out` is then unspecified.
bool to_value(const Value& value, bool& out);         ///< true, false
bool to_value(const Value& value, int64_t& out);      ///< 12, -3, 1_000, 1e6, 1.5e3
bool to_value(const Value& value, double& out);       ///< also .5, 1e-4, .inf, -.inf; not nan
bool to_value(const Value& value, std::string& out);  ///< every scalar
bool to_value(const Value& value, std::filesystem::path& out);

template <typename T>
bool to_value(const Value& value, std::vector<T>& out) {
  if (value.kind != Value::Kind::kList) return false;
  out.clear();
  for (const auto& item : value.items) {
    T element{};
    if (!to_value(item, element)) return false;
    out.push_back(std::move(element));
  }
  return true;
}

inline std::string type_name(const bool&) { return "true or false"; }
inline std::string type_name(const int64_t&) { return "a whole number"; }
inline std::string type_name(const double&) { return "a number"; }
inline std::string type_name(const std::string&) { return "text"; }
inline std::string type_name(const std::filesystem::path&) { return "a path"; }
inline std::string type_name(const std::vector<int64_t>&) { return "a list of whole numbers"; }
inline std::string type_name(const std::vector<double>&) { return "a list of numbers"; }
inline std::string type_name(const std::vector<std::string>&) { return "a list of texts"; }

}  // namespace r1::yaml
