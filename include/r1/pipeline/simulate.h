#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// The words of `--simulate`: "ranks=512,expert=64". 0: the fastest that fits, or what the hardware and model files say.
struct SimulateOptions {
  int64_t ranks = 0;            ///< devices of the run; must be said
  int64_t pipeline = 0;         ///< stages while training
  int64_t expert = 0;           ///< ranks of a stage that share its experts while training
  int64_t sampler = 0;          ///< ranks that share one copy of the weights while sampling
  int64_t gpus_per_node = 0;
  int64_t nodes_per_token = 0;  ///< limit of the nodes that a token's experts lie on; by default the model's topk_group

  /// Each word is key=value, or several with commas between. Throws Error for an unknown key, for a value that is no whole number of 1
  /// or more, for a key given twice, and without ranks.
  static SimulateOptions parse(const std::vector<std::string>& words);
};

/// What `r1 plan CONFIG --simulate` prints: for every text and GRPO stage the layout, seconds by phase, bytes by link, GPU hours beside
/// published ones, and the assumptions with what 10 % more or less of each would change. Formulas: docs/scale.md.
/// Throws Error when no layout fits, with the reasons, and when the hardware file has no `cluster:` section or the model's shape is
/// not known beyond counts.
std::string simulate(const RunConfig& config, const std::filesystem::path& hardware, const SimulateOptions& options);

}  // namespace r1::pipeline
