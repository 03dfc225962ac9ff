#pragma once
#include <cstdint>
#include <string>

#include "r1/data/problem.h"
#include "r1/util/config.h"

namespace r1 {

/// `problems: {kind: countdown}`: reach a target with given numbers and + - * /, each number once.
///
///   problems:
///     kind: countdown
///     count: 10000           # distinct problems, train and eval together
///     numbers: [3, 4]        # how many numbers, least and largest
///     values: [1, 50]        # their range
///     target: [1, 100]       # the target's range
///     prompt: "Using {numbers}, make {target}.\n"
///     eval_fraction: 0.1     # and eval_size, split_seed: see SplitConfig
///
/// Every problem has a solution (kept in extra.solution): the target is computed from the numbers by a drawn
/// expression whose steps are all positive whole numbers. Problem i is a function of (split_seed, i).
struct CountdownConfig {
  int64_t count = 10'000;
  int64_t numbers_min = 3, numbers_max = 4;
  int64_t value_min = 1, value_max = 50;
  int64_t target_min = 1, target_max = 100;
  std::string prompt = "Using the numbers {numbers}, make {target}.\n";
  SplitConfig split;
  static CountdownConfig parse(ConfigNode node);
};

/// Held-out problems share no (set of numbers, target) with training. Throws Error when `count` distinct
/// problems are not found in 100 * count draws, with how many were.
ProblemSet countdown_problems(const CountdownConfig& config);

}  // namespace r1
