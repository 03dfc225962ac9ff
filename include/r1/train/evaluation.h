#pragma once
#include <vector>

#include "r1/data/problem.h"
#include "r1/reward/reward.h"
#include "r1/rollout/engine.h"
#include "r1/train/stage.h"

namespace r1::train {

/// The `eval:` section: held-out problems, answered greedily unless `sampling` says otherwise.
struct EvalConfig {
  int64_t every_steps = 0;  ///< during training; 0: only before and after
  int64_t problems = 500;   ///< before and after
  int64_t problems_during = 200;
  rollout::SamplingConfig sampling;  ///< `sampling:`; temperature 0 by default
  static EvalConfig parse(ConfigNode node, const rollout::SamplingConfig& training);
};

struct EvalResult {
  int64_t problems = 0;
  int64_t gold_unreadable = 0;                          ///< not counted in any share
  double accuracy = 0;                                  ///< share of verdict right
  std::vector<std::pair<std::string, double>> parts;    ///< mean of every reward part
  double mean_tokens = 0;
  double truncated = 0;                                 ///< share that ran into the token limit
};

/// One completion for each of the first `count` problems.
EvalResult evaluate(rollout::Engine& engine, const Tokenizer& tokenizer, const Reward& reward,
                    const std::vector<Problem>& problems, int64_t count, const rollout::SamplingConfig& sampling,
                    const rollout::DrawOrigin& origin);

/// Evaluation of a stage: before and after on eval.problems, every eval.every_steps on eval.problems_during.
class Evaluator {
 public:
  Evaluator(EvalConfig config, Reward reward, std::vector<Problem> problems)
      : config_(std::move(config)), reward_(std::move(reward)), problems_(std::move(problems)) {}
  /// The figures when step `step` of `total` calls for it and it has none yet; empty otherwise.
  Metrics if_due(rollout::Engine& engine, const StageContext& context, int64_t step, int64_t total);
  const nlohmann::json& rows() const { return rows_; }  ///< all figures so far, with their steps
  double seconds() const { return seconds_; }
  void restore(nlohmann::json rows, double seconds);

 private:
  EvalConfig config_;
  Reward reward_;
  std::vector<Problem> problems_;
  nlohmann::json rows_ = nlohmann::json::array();
  double seconds_ = 0;
};

}  // namespace r1::train
