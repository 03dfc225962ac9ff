#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/data/row_texts.h"
#include "r1/util/config.h"

namespace r1 {

/// Checks of training data: keys of `problems:` (kinds jsonl, json_array) and of a text stage's `data:`
/// (kinds jsonl, stage).
///
///   decontaminate:               # drop what shares an n-gram of words with an evaluation question or
///   solution
///     against: [held_out, data/aime24.jsonl]   # files; held_out: the run's own held-out problems
///     ngram: 10
///   identity: drop               # or report: texts in which a model claims to be somebody else's
///   own_names: [DeepSeek-R1]     # claims that are allowed
///   deduplicate: true            # drop what equals an earlier text but for white space, case and
///   typographic signs
struct TextCheckConfig {
  enum class Identity { kOff, kReport, kDrop };

  std::vector<std::filesystem::path> against;
  bool against_held_out = false;
  int64_t ngram = 10;
  Identity identity = Identity::kOff;
  std::vector<std::string> own_names;
  bool deduplicate = false;

  bool decontaminates() const { return !against.empty() || against_held_out; }
  bool any() const { return decontaminates() || identity != Identity::kOff || deduplicate; }
  /// Throws Error for an unknown key under decontaminate, a file that does not exist, and own_names without
  /// identity.
  static TextCheckConfig parse(const ConfigNode& node);
};

/// Where a training text stands.
struct TextPlace {
  std::string file;
  int64_t row = 0;              ///< as `row_key` says
  std::string id;               ///< the row's own; empty when it has none
  const char* row_key = "row";  ///< "row": counted from 0 without blank lines; "line": of the file
};

struct TextCheckCounts {
  int64_t checked = 0, kept = 0;
  int64_t contaminated = 0, identity_dropped = 0, identity_reported = 0, duplicates = 0;
};

/// Decides text by text. Findings, one JSON object each:
///
///   {"file": "a.jsonl", "line": 7, "dropped": true, "reason": "contamination", "field": "question",
///    "ngram": "how many apples does tom have left in the end", "against": {"file": "b.jsonl", "line": 3,
///    "field": "question"}}
///   {..., "reason": "identity", "field": "completion", "rule": "name", "who": "ChatGPT", "text": "I am
///   ChatGPT"}
///   {..., "reason": "duplicate", "of": {"file": "a.jsonl", "line": 2}}
class TextChecker {
 public:
  using Listener = std::function<void(const nlohmann::ordered_json& finding)>;

  /// Reads the files of config.against. Throws Error for one that cannot be read or has no text.
  TextChecker(const TextCheckConfig& config, Listener listener);
  ~TextChecker();
  TextChecker(TextChecker&&) noexcept;

  /// A held-out problem: no training text may equal its question (deduplicate), nor share an n-gram with its
  /// texts when `against` names held_out.
  void protect(const TextPlace& place, const std::vector<RowText>& texts);

  /// Whether the texts of one row stay. A row is dropped for the first of contamination, identity, duplicate.
  bool keeps(const TextPlace& place, const std::vector<RowText>& texts);

  const TextCheckCounts& counts() const;
  std::string describe_evaluation() const;  ///< "1319 evaluation texts, 61,204 10-grams, 12 short questions"
  std::string describe_counts() const;      ///< "dropped 12 of 7473: 10 contamination, 2 duplicate"

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
