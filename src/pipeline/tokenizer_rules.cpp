#include "tokenizer_rules.h"

#include <unistd.h>

#include <algorithm>

#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// Whether two names can share bytes of a text: one holds the other, or one's end is the other's beginning.
bool overlap(const std::string& a, const std::string& b) {
  if (a.find(b) != a.npos || b.find(a) != b.npos) return true;
  for (size_t n = 1; n < std::min(a.size(), b.size()); ++n) {
    if (a.compare(a.size() - n, n, b, 0, n) == 0 || b.compare(b.size() - n, n, a, 0, n) == 0) return true;
  }
  return false;
}

void drop_normalized_flags(nlohmann::json& added) {
  std::vector<std::string> raw, normalized;
  for (const auto& token : added) {
    (token["normalized"].get<bool>() ? normalized : raw).push_back(token["content"].get<std::string>());
  }
  for (const auto& a : raw) {
    for (const auto& b : normalized) {
      if (overlap(a, b)) return;
    }
  }
  for (auto& token : added) token["normalized"] = false;
}

// A line end in an expression may stand as itself or escaped.
std::string with_escapes(const std::string& expression) {
  std::string out;
  for (const char c : expression) {
    if (c == '\n' || c == '\r') {
      out += c == '\n' ? "\\n" : "\\r";
    } else {
      out += c;
    }
  }
  return out;
}

nlohmann::json without_wrapping(nlohmann::json steps) {
  if (!steps.is_object()) return steps;
  steps.erase("trim_offsets");
  if (steps.contains("pattern") && steps["pattern"].contains("Regex")) {
    steps["pattern"]["Regex"] = with_escapes(steps["pattern"]["Regex"].get<std::string>());
  }
  for (const char* list : {"pretokenizers", "normalizers"}) {
    if (!steps.contains(list)) continue;
    for (auto& step : steps[list]) step = without_wrapping(step);
    if (steps[list].empty()) return nullptr;
    if (steps[list].size() == 1) {
      const nlohmann::json only = steps[list][0];
      return only;
    }
  }
  return steps;
}

}  // namespace

nlohmann::json tokenizer_rules(const Tokenizer& tokenizer) {
  const AtomicDirectory scratch(std::filesystem::temp_directory_path() /
                                cat("r1-tokenizer-", ::getpid()));  // removed: never committed
  tokenizer.save(scratch.staging());
  auto json = nlohmann::json::parse(read_file(scratch.staging() / "tokenizer.json"));
  for (const char* key : {"version", "truncation", "padding", "decoder"}) json.erase(key);
  json["normalizer"] = without_wrapping(json["normalizer"]);
  json["pre_tokenizer"] = without_wrapping(json["pre_tokenizer"]);
  if (json["normalizer"].is_null()) drop_normalized_flags(json["added_tokens"]);
  return json;
}

}  // namespace r1::pipeline
