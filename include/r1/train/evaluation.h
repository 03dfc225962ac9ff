#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "r1/data/problem.h"
#include "r1/reward/reward.h"
#include "r1/rollout/engine.h"
#include "r1/train/evaluation_statistics.h"
#include "r1/train/scored_group.h"
#include "r1/train/stage.h"

namespace r1::train {

/// The `eval:` section: held-out problems, answered greedily unless `sampling` says otherwise. The paper's way (DeepSeek-R1,
/// arXiv:2501.12948v2, D.1) is samples 4 to 64 at temperature 0.6 and top_p 0.95.
struct EvalConfig {
  int64_t every_steps = 0;  ///< during training; 0: only before and after
  int64_t problems = 500;   ///< before and after
  int64_t problems_during = 200;
  int64_t samples = 1;  ///< k: completions of each problem; above 1 needs a temperature above 0
  rollout::SamplingConfig sampling;  ///< `sampling:`; temperature 0 by default
  static EvalConfig parse(ConfigNode node, const rollout::SamplingConfig& training);
};

/// What `samples` completions of each problem gave; docs/evaluation.md has the formulas.
struct EvalResult {
  int64_t problems = 0;         ///< with a readable gold answer; the others are in no share
  int64_t samples = 1;          ///< k
  int64_t gold_unreadable = 0;  ///< problems
  double accuracy = 0;          ///< pass@1: mean over problems of the share of its samples with verdict right
  Interval accuracy_interval;
  std::vector<std::pair<int64_t, Estimate>> pass_at;  ///< (j, pass@j) for j = 2, 4, 8, ... and k; none for k = 1
  std::optional<Estimate> cons;  ///< cons@k, for k > 1 where the verifier compares answers (exact_answer)
  std::vector<std::pair<std::string, double>> parts;  ///< mean of every reward part
  double mean_tokens = 0;
  double truncated = 0;          ///< share of samples that ran into the token limit
  double answer_unreadable = 0;  ///< share of samples without an answer that can be read
  double timed_out = 0;          ///< share of samples that the verifier could not decide in time
};

/// (name, figure) of everything in `result`: "accuracy", "accuracy_low", "accuracy_high", "pass_at_4", "cons_at_64",
/// "reward_<part>", "tokens_mean", "truncated", "problems", ... Interval ends have the suffixes _low and _high.
Metrics figures_of(const EvalResult& result);

/// What evaluate() tells while it works; both may be empty.
struct EvalListener {
  std::function<void(const ScoredGroup&)> group;      ///< each problem with its completions, in order
  std::function<void(int64_t done, int64_t all, int64_t tokens)> progress;  ///< completions finished, tokens sampled so far
};

/// `samples` completions for each of the first `count` problems. Sample 0 of a problem is the same for every number of
/// samples, and whatever other problems are answered.
/// Throws Error when samples is above 1 at temperature 0, where all would be the same text.
EvalResult evaluate(const Sampler& sampler, const std::vector<Problem>& problems, int64_t count, int64_t samples, const rollout::SamplingConfig& sampling,
                    const rollout::DrawOrigin& origin, const EvalListener& listener = {});

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
