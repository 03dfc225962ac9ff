#include "split.h"

#include <cstdlib>

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1 {

SplitConfig parse_split(const ConfigNode& node) {
  SplitConfig split;
  node.read("eval_fraction", split.eval_fraction, between(0.0, 0.9), "0 holds nothing out.");
  node.read("eval_size", split.eval_size, at_least<int64_t>(0), "0 keeps every held-out problem.");
  node.read("split_seed", split.split_seed, at_least<int64_t>(0));
  split.where = node.where("eval_size");
  return split;
}

bool is_held_out_text(std::string_view text, const SplitConfig& split) {
  const std::string digest = hash_bytes(text);  // 32 hex digits
  const auto word = [&](size_t i) {
    return static_cast<uint32_t>(std::strtoul(digest.substr(8 * i, 8).c_str(), nullptr, 16));
  };
  const DrawKey key{static_cast<uint64_t>(split.split_seed),
                    Stream::kProblems,
                    stage_id("split"),
                    word(0),
                    word(1),
                    word(2),
                    word(3)};
  return draw_uniform(key) < split.eval_fraction;
}

void finish_split(ProblemSet& set, const SplitConfig& split) {
  if (set.train.empty()) {
    throw Error(cat(split.where, ": no training problem is left (", set.eval.size(), " held out, ",
                    set.gold_unreadable,
                    " without a readable answer); accepted: at least one.\n"
                    "  Widen the ranges or the file, or lower eval_fraction."));
  }
  const auto available = static_cast<int64_t>(set.eval.size());
  if (split.eval_size > available) {
    throw Error(cat(split.where, ": eval_size is ", split.eval_size, " but eval_fraction ",
                    split.eval_fraction, " holds out ", available, " problems; accepted: 0 to ", available,
                    ".\n  Raise eval_fraction or lower eval_size."));
  }
  shuffle_held_out(set.eval, split);
  if (split.eval_size > 0) set.eval.resize(static_cast<size_t>(split.eval_size));
}

void shuffle_held_out(std::vector<Problem>& problems, const SplitConfig& split) {
  const DrawKey key{static_cast<uint64_t>(split.split_seed), Stream::kShuffle, stage_id("eval"), 0, 0, 0, 0};
  std::vector<Problem> shuffled;
  for (const int64_t i : draw_permutation(key, static_cast<int64_t>(problems.size()))) {
    shuffled.push_back(std::move(problems[static_cast<size_t>(i)]));
  }
  problems = std::move(shuffled);
}

}  // namespace r1
