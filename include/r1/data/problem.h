#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace r1 {

/// One task for the policy: the prompt as text, and what a verifier needs.
struct Problem {
  int64_t id = 0;  ///< stable within its source: a place in the generator's space, or an index in the file
  std::string prompt;  ///< complete, few-shot examples included
  std::string answer;  ///< gold
  std::string kind;    ///< "arithmetic", "countdown", "jsonl", "json_array"
  nlohmann::json
      extra;  ///< arithmetic: a, b, op; countdown: numbers, target, solution; files: the other fields
  std::string question = {};  ///< of a file: as it stands there, before the template
  std::string solution = {};  ///< of a file: the whole answer field, with the worked solution where it has one
};

/// Training and held-out problems of one source; no (a, b, op), number set or question stands in both.
struct ProblemSet {
  std::vector<Problem> train;
  std::vector<Problem> eval;    ///< in the order of a keyed shuffle, cut to eval_size
  int64_t gold_unreadable = 0;  ///< left out because their gold answer cannot be read
  int64_t repeated = 0;         ///< left out because an earlier problem has the same question
  std::string checks;           ///< what text checks did, for the log; empty without any
  std::vector<nlohmann::ordered_json> findings;  ///< of the text checks, see TextChecker
};

/// Which problems are held out.
///
///   eval_fraction: 0.1   # share of the problems, by a hash of each: neither place nor run seed matter
///   eval_size: 500       # at most this many of them, all when 0; more than there are is an error
///   split_seed: 0        # another value holds out other problems
struct SplitConfig {
  double eval_fraction = 0.1;
  int64_t eval_size = 0;
  int64_t split_seed = 0;
  std::string where;  ///< place of eval_size in the config, for errors
};

}  // namespace r1
