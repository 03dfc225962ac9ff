#include "r1/report/evaluations.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace r1::report {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

double value_at(const Series& series, int64_t step) {
  const auto it = std::find(series.steps.begin(), series.steps.end(), step);
  return it == series.steps.end() ? kMissing : series.values[static_cast<size_t>(it - series.steps.begin())];
}

double or_zero(double value) { return std::isfinite(value) ? value : 0; }

}  // namespace

std::vector<Evaluation> evaluations_of(const StageRecord& stage) {
  const std::string prefix = "eval_reward_";
  std::vector<Evaluation> out;
  const auto& accuracy = stage.find("eval_accuracy");
  for (size_t i = 0; i < accuracy.size(); ++i) {
    if (!std::isfinite(accuracy.values[i])) continue;
    Evaluation e;
    e.step = accuracy.steps[i];
    e.accuracy = accuracy.values[i];
    e.problems = or_zero(value_at(stage.find("eval_problems"), e.step));
    e.interval = wilson_interval(e.accuracy, e.problems);
    const double low = value_at(stage.find("eval_accuracy_low"), e.step),
                 high = value_at(stage.find("eval_accuracy_high"), e.step);
    if (std::isfinite(low) && std::isfinite(high)) e.interval = {low, high};
    e.tokens_mean = value_at(stage.find("eval_tokens_mean"), e.step);
    e.truncated = value_at(stage.find("eval_truncated"), e.step);
    for (const auto& [name, series] : stage.series) {
      if (name.starts_with(prefix))
        e.parts.emplace_back(name.substr(prefix.size()), value_at(series, e.step));
      if (name.ends_with("_low") || name.ends_with("_high")) continue;
      if (name.starts_with("eval_pass_at_"))
        e.votes.emplace_back("pass@" + name.substr(13), value_at(series, e.step));
      if (name.starts_with("eval_cons_at_"))
        e.votes.emplace_back("cons@" + name.substr(13), value_at(series, e.step));
    }
    out.push_back(std::move(e));
  }
  return out;
}

double part_of(const Evaluation& evaluation, const std::string& name) {
  for (const auto& [part, value] : evaluation.parts) {
    if (part == name) return value;
  }
  return kMissing;
}

}  // namespace r1::report
