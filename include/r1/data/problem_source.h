#pragma once
#include <cstdint>
#include <variant>
#include <vector>

#include "r1/data/arithmetic.h"
#include "r1/data/countdown.h"
#include "r1/data/problem.h"
#include "r1/data/problem_file.h"
#include "r1/util/config.h"

namespace r1 {

/// The `problems:` section: `kind` is arithmetic, countdown, jsonl or json_array; the other keys are that
/// kind's.
struct ProblemsConfig {
  std::variant<ArithmeticConfig, CountdownConfig, ProblemFileConfig> source;
  static ProblemsConfig parse(ConfigNode node);
};

/// Reads or generates all problems, and logs how many were left out and why.
ProblemSet load_problems(const ProblemsConfig& config);

/// The endless order of training problems: epoch after epoch, each in its own permutation keyed by (seed,
/// stage, epoch). A position alone gives its problem, so a run's whole data state is one integer.
class ProblemStream {
 public:
  /// Throws Error when `problems` is empty.
  ProblemStream(std::vector<Problem> problems, uint64_t seed, uint32_t stage);
  const Problem& at(int64_t position) const;
  int64_t epoch_size() const { return static_cast<int64_t>(problems_.size()); }

 private:
  std::vector<Problem> problems_;
  uint64_t seed_ = 0;
  uint32_t stage_ = 0;
  mutable int64_t epoch_ = -1;  ///< whose permutation is held
  mutable std::vector<int64_t> order_;
};

}  // namespace r1
