#pragma once
#include <functional>
#include <string>
#include <vector>

#include "r1/data/problem.h"
#include "r1/reward/reward.h"
#include "r1/rollout/engine.h"
#include "r1/train/sharing.h"

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

/// Who samples and scores.
struct Sampler {
  rollout::Engine& engine;
  const Tokenizer& tokenizer;
  const Reward& reward;
  const Sharing& sharing;
  ScoringSeconds& seconds;  ///< added to
  /// Called with the groups that this rank has sampled, before the others get them: the place for a further part of the reward.
  std::function<void(std::vector<ScoredGroup>&)> finish = {};
};

/// Samples `group_size` completions of every problem and scores them. Problem i is prompt `first_index` + i in `origin`:
/// its draws depend on that number alone, whatever else is sampled with it. `progress` as in Engine::sample.
///
/// Over ranks (collective): every rank gives the same arguments and gets all groups. With exact numerics a rank takes the next
/// problem whenever it has room, since no bit depends on who samples; with fast ones they are dealt in turn. Each rank scores its own.
std::vector<ScoredGroup> sample_and_score(const Sampler& sampler, std::vector<Problem> problems, int64_t first_index, int64_t group_size,
                                          const rollout::SamplingConfig& sampling, const rollout::DrawOrigin& origin,
                                          const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace r1::train
