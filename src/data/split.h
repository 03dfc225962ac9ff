#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "r1/data/problem.h"
#include "r1/util/config.h"

namespace r1 {

/// Reads eval_fraction, eval_size and split_seed of a `problems:` section.
SplitConfig parse_split(const ConfigNode& node);

/// Whether a problem with this text is held out: a draw keyed by split_seed and 128 bits of the text's hash.
bool is_held_out_text(std::string_view text, const SplitConfig& split);

/// Puts problems into an order drawn by split_seed.
void shuffle_held_out(std::vector<Problem>& problems, const SplitConfig& split);

/// Shuffles the held-out problems by split_seed and cuts them to eval_size.
/// Throws Error when eval_size is more than there are, or when no training problem is left.
void finish_split(ProblemSet& set, const SplitConfig& split);

}  // namespace r1
