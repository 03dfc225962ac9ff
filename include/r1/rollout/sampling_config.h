#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "r1/ops/sampling.h"
#include "r1/util/config.h"

namespace r1::rollout {

/// The `sampling:` section: how completions are drawn and when they end.
struct SamplingConfig {
  ops::SamplingRule rule;              ///< temperature, top_k, top_p, min_p
  int64_t max_completion_tokens = 256;
  std::vector<std::string> stop;       ///< texts that end a completion; it keeps the token that completed one
  bool stop_at_eos = true;

  static SamplingConfig parse(ConfigNode node);
};

}  // namespace r1::rollout
