#include <array>

#include "gguf_value_type.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

bool as_int(const GgufValue& value, int64_t& out) {
  if (const auto* u = std::get_if<uint64_t>(&value.value)) {
    if (*u > static_cast<uint64_t>(INT64_MAX)) return false;
    out = static_cast<int64_t>(*u);
    return true;
  }
  if (const auto* i = std::get_if<int64_t>(&value.value)) {
    out = *i;
    return true;
  }
  return false;
}

bool as_number(const GgufValue& value, double& out) {
  if (const auto* d = std::get_if<double>(&value.value)) {
    out = *d;
    return true;
  }
  int64_t integer = 0;
  if (!as_int(value, integer)) return false;
  out = static_cast<double>(integer);
  return true;
}

[[noreturn]] void wrong_kind(const std::filesystem::path& path, const std::string& key,
                             const GgufValue& value, const char* wanted) {
  std::string found = gguf_value_type_name(value.type);
  if (value.type == GgufValueType::kArray) found += cat(" of ", gguf_value_type_name(value.element_type));
  throw Error(cat(path.string(), ": metadata key '", key, "' is of type ", found, "; accepted: ", wanted,
                  ".\n  The file was written by a program that deviates from the GGUF specification."));
}

}  // namespace

const char* gguf_value_type_name(GgufValueType type) {
  static constexpr std::array<const char*, kNumGgufValueTypes> kNames = {
      "uint8",   "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "boolean", "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<size_t>(type)];
}

const GgufValue& GgufFile::at(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) return found->second;
  std::vector<std::string> keys;
  for (const auto& [name, value] : metadata_) keys.push_back(name);
  const std::string near = nearest(key, keys);
  throw Error(
      cat(path().string(), ": has no metadata key '", key, "'",
          near.empty() ? "" : cat("; nearest: '", near, "'"),
          ".\n  The file lacks what is needed here; convert the model again with a current llama.cpp."));
}

int64_t GgufFile::get_int(const std::string& key) const {
  const GgufValue& value = at(key);
  int64_t out = 0;
  if (!as_int(value, out)) wrong_kind(path(), key, value, "an integer below 2^63");
  return out;
}

int64_t GgufFile::get_int(const std::string& key, int64_t fallback) const {
  return has(key) ? get_int(key) : fallback;
}

double GgufFile::get_number(const std::string& key) const {
  const GgufValue& value = at(key);
  double out = 0;
  if (!as_number(value, out)) wrong_kind(path(), key, value, "a number");
  return out;
}

double GgufFile::get_number(const std::string& key, double fallback) const {
  return has(key) ? get_number(key) : fallback;
}

bool GgufFile::get_bool(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  const GgufValue& value = at(key);
  if (const auto* b = std::get_if<bool>(&value.value)) return *b;
  wrong_kind(path(), key, value, "a boolean");
}

const std::string& GgufFile::get_string(const std::string& key) const {
  const GgufValue& value = at(key);
  if (const auto* s = std::get_if<std::string>(&value.value)) return *s;
  wrong_kind(path(), key, value, "a string");
}

std::string GgufFile::get_string(const std::string& key, const std::string& fallback) const {
  return has(key) ? get_string(key) : fallback;
}

std::vector<std::string> GgufFile::get_strings(const std::string& key) const {
  const GgufValue& value = at(key);
  const auto* elements = std::get_if<std::vector<GgufValue>>(&value.value);
  if (elements == nullptr || (value.element_type != GgufValueType::kString))
    wrong_kind(path(), key, value, "an array of strings");
  std::vector<std::string> out;
  out.reserve(elements->size());
  for (const auto& element : *elements) out.push_back(std::get<std::string>(element.value));
  return out;
}

std::vector<int64_t> GgufFile::get_ints(const std::string& key) const {
  const GgufValue& value = at(key);
  const auto* elements = std::get_if<std::vector<GgufValue>>(&value.value);
  if (elements == nullptr) wrong_kind(path(), key, value, "an array of integers");
  std::vector<int64_t> out;
  out.reserve(elements->size());
  for (const auto& element : *elements) {
    int64_t integer = 0;
    if (!as_int(element, integer)) wrong_kind(path(), key, value, "an array of integers");
    out.push_back(integer);
  }
  return out;
}

std::vector<double> GgufFile::get_numbers(const std::string& key) const {
  const GgufValue& value = at(key);
  const auto* elements = std::get_if<std::vector<GgufValue>>(&value.value);
  if (elements == nullptr) wrong_kind(path(), key, value, "an array of numbers");
  std::vector<double> out;
  out.reserve(elements->size());
  for (const auto& element : *elements) {
    double number = 0;
    if (!as_number(element, number)) wrong_kind(path(), key, value, "an array of numbers");
    out.push_back(number);
  }
  return out;
}

}  // namespace r1
