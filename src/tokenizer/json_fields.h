#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::json_fields {

/// A short quotation of a JSON value for messages.
inline std::string quote(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

/// object[key], or nullptr when it is absent or null. Throws Error when `object` is not an object.
inline const nlohmann::json* find(const nlohmann::json& object, const char* key, const std::string& where) {
  if (!object.is_object())
    throw Error(cat(where, " is ", quote(object), "; expected an object with \"", key, "\""));
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

inline const nlohmann::json& need(const nlohmann::json& object, const char* key, const std::string& where) {
  const auto* value = find(object, key, where);
  if (!value) throw Error(cat(where, " has no \"", key, "\", which is needed"));
  return *value;
}

inline bool boolean(const nlohmann::json& object, const char* key, bool fallback, const std::string& where) {
  const auto* value = find(object, key, where);
  if (!value) return fallback;
  if (!value->is_boolean())
    throw Error(cat(where, ".", key, " is ", quote(*value), "; accepted: true or false"));
  return value->get<bool>();
}

inline std::string text(const nlohmann::json& object, const char* key, const std::string& where) {
  const auto& value = need(object, key, where);
  if (!value.is_string()) throw Error(cat(where, ".", key, " is ", quote(value), "; accepted: a string"));
  return value.get<std::string>();
}

inline std::string text(const nlohmann::json& object, const char* key, const std::string& fallback,
                        const std::string& where) {
  return find(object, key, where) ? text(object, key, where) : fallback;
}

/// An integer in [low, high].
inline int64_t integer(const nlohmann::json& value, int64_t low, int64_t high, const std::string& where) {
  const bool fits = value.is_number_integer() &&
                    !(value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  if (!fits || value.get<int64_t>() < low || value.get<int64_t>() > high)
    throw Error(cat(where, " is ", quote(value), "; accepted: an integer from ", low, " to ", high));
  return value.get<int64_t>();
}

}  // namespace r1::json_fields
