#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// The `normalizer` of a tokenizer.json: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace
/// (of a string).
class Normalizer {
 public:
  Normalizer() = default;  ///< changes nothing
  Normalizer(const nlohmann::json& spec, const std::string& where);

  const nlohmann::json& spec() const { return spec_; }
  bool empty() const { return steps_.empty(); }

  /// `text` is valid UTF-8. Returns it unchanged where possible, else a view of `buffer`.
  std::string_view apply(std::string_view text, std::string& buffer) const;

 private:
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kLowercase, kStrip, kPrepend, kReplace };
  struct Step {
    Kind kind;
    std::string from, to;  // Prepend: to; Replace: from -> to
    bool left = true, right = true;
  };
  void add(const nlohmann::json& spec, const std::string& where);

  std::vector<Step> steps_;
  nlohmann::json spec_;
};

}  // namespace r1
