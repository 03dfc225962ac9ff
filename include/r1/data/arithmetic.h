#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "r1/data/problem.h"
#include "r1/util/config.h"

namespace r1 {

/// `problems: {kind: arithmetic}`: every "a op b" of the given ranges.
///
///   problems:
///     kind: arithmetic
///     ops: "+-"                     # any of + - *
///     a: [0, 99]                    # least and largest, 0 or more
///     b: [0, 99]
///     negative_results: true        # false: only a - b >= 0
///     max_problems: 100000          # a larger space is sampled down to this many
///     prompt: "{a} {op} {b} ="
///     shots: {count: 4, template: "{a} {op} {b} = {answer}\n", fixed: false}
///     eval_fraction: 0.1            # and eval_size, split_seed: see SplitConfig
///
/// Shots are solved training problems put before the prompt, never the problem itself; fixed: the same for
/// all.
struct ArithmeticConfig {
  std::string ops = "+";
  int64_t a_min = 0, a_max = 99;
  int64_t b_min = 0, b_max = 99;
  bool negative_results = true;
  int64_t max_problems = 100'000;
  std::string prompt = "{a} {op} {b} =";
  int64_t shot_count = 0;
  std::string shot_template = "{a} {op} {b} = {answer}\n";
  bool shots_fixed = false;
  SplitConfig split;
  static ArithmeticConfig parse(ConfigNode node);
};

struct ArithmeticTask {
  int64_t a = 0, b = 0;
  char op = '+';
  int64_t result() const { return op == '+' ? a + b : op == '-' ? a - b : a * b; }
};

/// True for held-out tasks: a draw keyed by (split_seed, min(a,b), max(a,b), op) for + and *, by (a, b, op)
/// for -, is below eval_fraction. So a+b and b+a lie on the same side, whatever ranges or seeds a run has.
bool is_held_out(const ArithmeticTask& task, const SplitConfig& split);

/// The tasks of the space in its order (ops, then a, then b), or max_problems of them drawn by split_seed.
/// Throws Error when none is left.
std::vector<ArithmeticTask> arithmetic_tasks(const ArithmeticConfig& config);

/// The prompt of one task without shots.
std::string arithmetic_prompt(const ArithmeticConfig& config, const ArithmeticTask& task);

ProblemSet arithmetic_problems(const ArithmeticConfig& config);

}  // namespace r1
