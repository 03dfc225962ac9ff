#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "r1/util/config.h"

namespace r1::pipeline {

/// The `plan:` section of a config: where it is planned to run. No result depends on it.
struct PlanConfig {
  std::filesystem::path hardware;    ///< a file of configs/hardware/; empty: this CPU, or the GPU of `device`
  int64_t devices = 1;               ///< that the run has
  int64_t devices_per_replica = 0;   ///< that share one copy of the weights; 0: the fewest (a power of two) that fit
  static PlanConfig parse(ConfigNode node);
};

/// The `plan:` section of a stage: what cannot be known before it has run, and what was published. 0: not said.
struct StageAssumptions {
  double prompt_tokens = 0;           ///< mean; by default that of the problems, where they can be read
  double completion_tokens = 0;       ///< mean over the stage; by default the limit
  double longest_tokens = 0;          ///< the longest completion of a rollout; by default the limit
  double text_tokens = 0;             ///< mean of a training text; by default that of the data, where it can be read
  double texts = 0;                   ///< number of texts, for `epochs`; by default that of the data
  double tokens_per_decode_step = 1;  ///< that a sequence gains in a decoding step; above 1 with speculative decoding
  double published_hours = 0;         ///< device hours that were published for this stage
  /// For `r1 plan --simulate`: the layout that was published, 0: the fastest that fits; and how the mean completion grows, tokens at
  /// steps with straight lines between (empty: completion_tokens throughout).
  int64_t pipeline = 0, expert = 0;
  std::vector<double> curve_steps, curve_tokens;
  static StageAssumptions parse(ConfigNode node);
};

}  // namespace r1::pipeline
