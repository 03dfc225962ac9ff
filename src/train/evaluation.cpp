#include "r1/train/evaluation.h"

#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::train {

namespace {

constexpr int64_t kCompletionsAtOnce = 4096;  // bounds the texts in memory; no result depends on it

// The equality of answers where the verdict comes from comparing them; nothing where a text is run or calculated.
std::optional<Compare> answer_equality(const Reward& reward) {
  for (const auto& part : reward.config().parts) {
    if (part.kind == RewardKind::kExactAnswer) return part.compare;
    if (part.kind != RewardKind::kFormat) return std::nullopt;
  }
  return std::nullopt;
}

// What the problems gave, one value each where an interval is wanted.
class Tally {
 public:
  Tally(int64_t samples, std::optional<Compare> equality) : equality_(equality) {
    out_.samples = samples;
    for (int64_t j = 2; j < samples; j *= 2) out_.pass_at.emplace_back(j, Estimate{});
    if (samples > 1) out_.pass_at.emplace_back(samples, Estimate{});
    pass_at_.resize(out_.pass_at.size());
  }

  void add(const ScoredGroup& group) {
    if (std::any_of(group.scores.begin(), group.scores.end(),
                    [](const Score& score) { return score.verdict == Verdict::kGoldUnreadable; })) {
      ++out_.gold_unreadable;
      return;
    }
    ++out_.problems;
    int64_t right = 0;
    for (size_t i = 0; i < group.scores.size(); ++i) {
      add_sample(group.scores[i], group.group.completions[i]);
      right += group.scores[i].verdict == Verdict::kRight ? 1 : 0;
    }
    accuracy_.push_back(static_cast<double>(right) / static_cast<double>(out_.samples));
    for (size_t i = 0; i < pass_at_.size(); ++i) pass_at_[i].push_back(pass_at_k(out_.samples, right, out_.pass_at[i].first));
    if (equality_ && out_.samples > 1) cons_.push_back(majority_is_right(group) ? 1 : 0);
  }

  EvalResult result() const {
    EvalResult out = out_;
    const auto accuracy = mean_over_problems(accuracy_);
    out.accuracy = accuracy.value;
    out.accuracy_interval = accuracy.interval;
    for (size_t i = 0; i < pass_at_.size(); ++i) out.pass_at[i].second = mean_over_problems(pass_at_[i]);
    if (equality_ && out_.samples > 1) out.cons = mean_over_problems(cons_);
    const double total = std::max<double>(1, static_cast<double>(out.problems * out.samples));
    for (double* share : {&out.mean_tokens, &out.truncated, &out.answer_unreadable, &out.timed_out}) *share /= total;
    for (auto& [name, value] : out.parts) value /= total;
    return out;
  }

 private:
  void add_sample(const Score& score, const rollout::Completion& completion) {
    out_.mean_tokens += static_cast<double>(completion.tokens.size());
    out_.truncated += completion.finish == rollout::Finish::kLength ? 1 : 0;
    out_.answer_unreadable += score.verdict == Verdict::kAnswerUnreadable ? 1 : 0;
    out_.timed_out += score.verdict == Verdict::kTimedOut ? 1 : 0;
    out_.parts.resize(score.parts.size());
    for (size_t k = 0; k < score.parts.size(); ++k) {
      out_.parts[k].first = score.parts[k].first;
      out_.parts[k].second += score.parts[k].second;
    }
  }

  bool majority_is_right(const ScoredGroup& group) const {
    std::vector<std::string> answers;
    for (const auto& score : group.scores) answers.push_back(score.extracted);
    const auto winner = majority_answer(answers, [&](const std::string& answer, const std::string& other) {
      return compare_answers(answer, other, *equality_) == Verdict::kRight;
    });
    return winner && group.scores[*winner].verdict == Verdict::kRight;
  }

  EvalResult out_;
  std::optional<Compare> equality_;
  std::vector<double> accuracy_, cons_;       // per problem
  std::vector<std::vector<double>> pass_at_;  // [j][problem]
};

}  // namespace

EvalConfig EvalConfig::parse(ConfigNode node, const rollout::SamplingConfig& training) {
  EvalConfig c;
  node.read("every_steps", c.every_steps, at_least<int64_t>(0));
  node.read("problems", c.problems, at_least<int64_t>(1));
  node.read("problems_during", c.problems_during, at_least<int64_t>(1));
  node.read("samples", c.samples, at_least<int64_t>(1));
  if (node.has("sampling")) {
    c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  } else {
    c.sampling = training;
    c.sampling.rule = {.temperature = 0.0};
  }
  if (c.samples > 1 && c.sampling.rule.temperature == 0) {
    node.reject("samples", "1 at temperature 0, where all samples are the same text",
                "The paper's way: sampling: {temperature: 0.6, top_p: 0.95, max_completion_tokens: ...}.");
  }
  node.reject_unknown_keys();
  return c;
}

EvalResult evaluate(const Sampler& sampler, const std::vector<Problem>& problems, int64_t count, int64_t samples, const rollout::SamplingConfig& sampling,
                    const rollout::DrawOrigin& origin, const EvalListener& listener) {
  if (samples > 1 && sampling.rule.temperature == 0) {
    throw Error(cat("evaluation: ", samples, " samples at temperature 0 would all be the same text; accepted: 1 sample, or a "
                    "temperature above 0.\n  The paper's way is temperature 0.6 and top-p 0.95."));
  }
  const int64_t n = std::min<int64_t>(count, static_cast<int64_t>(problems.size()));
  const int64_t at_once = std::max<int64_t>(1, kCompletionsAtOnce / samples);
  Tally tally(samples, answer_equality(sampler.reward));
  const int64_t tokens_before = sampler.engine.stats().generated_tokens;
  for (int64_t first = 0; first < n; first += at_once) {
    const int64_t last = std::min(n, first + at_once);
    const auto progress = [&](int64_t done, int64_t) {
      if (listener.progress) listener.progress(first * samples + done, n * samples, sampler.engine.stats().generated_tokens - tokens_before);
    };
    for (const auto& group : sample_and_score(sampler, {problems.begin() + first, problems.begin() + last}, first, samples, sampling, origin,
                                              progress)) {
      tally.add(group);
      if (listener.group) listener.group(group);
    }
  }
  return tally.result();
}

Metrics figures_of(const EvalResult& r) {
  Metrics figures;
  const auto add = [&](const std::string& name, double value, const Interval& interval) {
    figures.emplace_back(name, value);
    figures.emplace_back(name + "_low", interval.low);
    figures.emplace_back(name + "_high", interval.high);
  };
  add("accuracy", r.accuracy, r.accuracy_interval);
  for (const auto& [j, estimate] : r.pass_at) add(cat("pass_at_", j), estimate.value, estimate.interval);
  if (r.cons) add(cat("cons_at_", r.samples), r.cons->value, r.cons->interval);
  for (const auto& [name, value] : r.parts) figures.emplace_back("reward_" + name, value);
  figures.emplace_back("tokens_mean", r.mean_tokens);
  figures.emplace_back("truncated", r.truncated);
  figures.emplace_back("answer_unreadable", r.answer_unreadable);
  figures.emplace_back("timed_out", r.timed_out);
  figures.emplace_back("problems", static_cast<double>(r.problems));
  figures.emplace_back("samples", static_cast<double>(r.samples));
  figures.emplace_back("gold_unreadable", static_cast<double>(r.gold_unreadable));
  return figures;
}

Metrics Evaluator::if_due(rollout::Engine& engine, const StageContext& context, int64_t step, int64_t total) {
  const bool edge = step == 0 || step >= total;
  if (problems_.empty()) return {};
  if (!edge && (config_.every_steps == 0 || step % config_.every_steps != 0)) return {};
  if (!rows_.empty() && rows_.back().at("step") == step) return {};
  const double start_s = monotonic_s();
  ScoringSeconds seconds;
  const auto result = evaluate({engine, context.tokenizer, reward_, context.sharing, seconds}, problems_, edge ? config_.problems : config_.problems_during,
                               config_.samples, config_.sampling,
                               {context.seed, stage_id((context.stage + "/eval").c_str()), static_cast<uint32_t>(step)});
  seconds_ += monotonic_s() - start_s;
  Metrics metrics;
  for (const auto& [name, value] : figures_of(result)) metrics.emplace_back("eval_" + name, value);
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
