#include "r1/train/evaluation.h"

#include <algorithm>

#include "r1/train/scored_group.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"

namespace r1::train {

EvalConfig EvalConfig::parse(ConfigNode node, const rollout::SamplingConfig& training) {
  EvalConfig c;
  node.read("every_steps", c.every_steps, at_least<int64_t>(0));
  node.read("problems", c.problems, at_least<int64_t>(1));
  node.read("problems_during", c.problems_during, at_least<int64_t>(1));
  if (node.has("sampling")) {
    c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  } else {
    c.sampling = training;
    c.sampling.rule = {.temperature = 0.0};
  }
  node.reject_unknown_keys();
  return c;
}

EvalResult evaluate(rollout::Engine& engine, const Tokenizer& tokenizer, const Reward& reward,
                    const std::vector<Problem>& problems, int64_t count, const rollout::SamplingConfig& sampling,
                    const rollout::DrawOrigin& origin) {
  const auto n = static_cast<std::ptrdiff_t>(std::min<int64_t>(count, static_cast<int64_t>(problems.size())));
  ScoringSeconds seconds;
  const auto groups = sample_and_score(engine, tokenizer, reward, {problems.begin(), problems.begin() + n}, 0, 1, sampling, origin, seconds);
  EvalResult out;
  for (const auto& group : groups) {
    const auto& completion = group.group.completions[0];
    const auto& score = group.scores[0];
    if (score.verdict == Verdict::kGoldUnreadable) {
      ++out.gold_unreadable;
      continue;
    }
    ++out.problems;
    out.accuracy += score.verdict == Verdict::kRight ? 1 : 0;
    out.mean_tokens += static_cast<double>(completion.tokens.size());
    out.truncated += completion.finish == rollout::Finish::kLength ? 1 : 0;
    out.parts.resize(score.parts.size());
    for (size_t k = 0; k < score.parts.size(); ++k) {
      out.parts[k].first = score.parts[k].first;
      out.parts[k].second += score.parts[k].second;
    }
  }
  const double total = std::max<double>(1, static_cast<double>(out.problems));
  out.accuracy /= total;
  out.mean_tokens /= total;
  out.truncated /= total;
  for (auto& [name, value] : out.parts) value /= total;
  return out;
}

Metrics Evaluator::if_due(rollout::Engine& engine, const StageContext& context, int64_t step, int64_t total) {
  const bool edge = step == 0 || step >= total;
  if (problems_.empty()) return {};
  if (!edge && (config_.every_steps == 0 || step % config_.every_steps != 0)) return {};
  if (!rows_.empty() && rows_.back().at("step") == step) return {};
  const double start_s = monotonic_s();
  const auto result = evaluate(engine, context.tokenizer, reward_, problems_, edge ? config_.problems : config_.problems_during,
                               config_.sampling,
                               {context.seed, stage_id((context.stage + "/eval").c_str()), static_cast<uint32_t>(step)});
  seconds_ += monotonic_s() - start_s;
  Metrics metrics{{"eval_accuracy", result.accuracy}};
  for (const auto& [name, value] : result.parts) metrics.emplace_back("eval_reward_" + name, value);
  metrics.emplace_back("eval_tokens_mean", result.mean_tokens);
  metrics.emplace_back("eval_truncated", result.truncated);
  metrics.emplace_back("eval_problems", static_cast<double>(result.problems));
  nlohmann::json row{{"step", step}};
  for (const auto& [name, value] : metrics) row[name] = value;
  rows_.push_back(row);
  return metrics;
}

void Evaluator::restore(nlohmann::json rows, double seconds) {
  rows_ = std::move(rows);
  seconds_ = seconds;
}

}  // namespace r1::train
