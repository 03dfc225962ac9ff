#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace r1 {

/// What a reward model learns from: of two completions of one prompt the better and the worse one, or a single one that
/// is known to be good or bad.
struct PreferenceExample {
  std::string prompt;
  std::optional<std::string> chosen;    ///< the better completion, or a good one
  std::optional<std::string> rejected;  ///< the worse completion, or a bad one

  bool is_pair() const { return chosen && rejected; }
};

/// Training and held-out examples; no prompt stands in both.
struct PreferenceSet {
  std::vector<PreferenceExample> train, eval;
};

/// Reads JSONL (also .jsonl.zst), or all such files of a folder in the order of their names. A line is a pair
///   {"prompt": text, "chosen": text, "rejected": text}
/// or a judged completion
///   {"prompt": text, "completion": text, "good": true | false}
/// Other fields are ignored. Throws Error "<file>:<line>: ..." for a missing or non-text field, for a pair of equal
/// texts, and for a file without lines.
std::vector<PreferenceExample> read_preferences(const std::filesystem::path& path);

/// Holds out the examples of about `eval_fraction` of the prompts, by a hash of each: neither place nor seed matter.
PreferenceSet split_preferences(std::vector<PreferenceExample> examples, double eval_fraction);

}  // namespace r1
