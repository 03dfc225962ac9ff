#pragma once
#include <functional>
#include <string>
#include <vector>

#include "r1/data/problem.h"
#include "r1/reward/reward.h"
#include "r1/rollout/engine.h"

namespace r1::train {

/// One problem's completions with their scores.
struct ScoredGroup {
  Problem problem;
  rollout::RolloutGroup group;
  std::vector<Score> scores;       ///< [G]
  std::vector<std::string> texts;  ///< [G] completions without control tokens, as the verifier saw them
};

/// What sampling and scoring took.
struct ScoringSeconds {
  double rollout = 0, reward = 0;
};

/// Samples `group_size` completions of every problem and scores them. Problem i is prompt `first_index` + i in `origin`:
/// its draws depend on that number alone, whatever else is sampled with it. Adds to `seconds`. `progress` as in
/// Engine::sample.
std::vector<ScoredGroup> sample_and_score(rollout::Engine& engine, const Tokenizer& tokenizer, const Reward& reward,
                                          std::vector<Problem> problems, int64_t first_index, int64_t group_size,
                                          const rollout::SamplingConfig& sampling, const rollout::DrawOrigin& origin,
                                          ScoringSeconds& seconds, const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace r1::train
