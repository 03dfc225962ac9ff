#include "plan_published.h"

#include <cmath>
#include <cstdio>
#include <functional>
#include <optional>

#include "plan_time.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// x in [low, high] with f(x) = wanted, for a monotonous f; by halving on a logarithmic scale.
std::optional<double> solve(double low, double high, double wanted, const std::function<double(double)>& f) {
  const bool rises = f(high) > f(low);
  if ((f(low) - wanted) * (f(high) - wanted) > 0) return std::nullopt;
  for (int i = 0; i < 60; ++i) {
    const double middle = std::sqrt(low * high);
    ((f(middle) < wanted) == rises ? low : high) = middle;
  }
  return std::sqrt(low * high);
}

std::string digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}  // namespace

std::vector<std::string> explain_published(const StageEntry& entry, const Lengths& lengths, const Plan& plan, double published_hours) {
  const auto hours = [&](const StageEntry& e, const Lengths& l, const Hardware& h) {
    StagePlan stage;
    plan_time(e, l, h, plan.devices, plan.devices_per_replica, stage);
    return plan.device_hours(stage);
  };
  std::vector<std::string> out;
  const auto try_one = [&](double low, double high, const std::function<double(double)>& f, const std::function<std::string(double)>& say) {
    if (const auto x = solve(low, high, published_hours, f)) out.push_back(say(*x));
  };
  if (lengths.completion > 0) {
    try_one(1, std::max(2.0, lengths.longest), [&](double x) { auto l = lengths; l.completion = x; return hours(entry, l, plan.hardware); },
            [](double x) { return cat("completions of ", human_count(x), " tokens on average"); });
    try_one(1, 1e6, [&](double x) { auto l = lengths; l.longest = x; return hours(entry, l, plan.hardware); },
            [](double x) { return cat("a longest completion of ", human_count(x), " tokens in a rollout"); });
    StagePlan now;
    plan_time(entry, lengths, plan.hardware, plan.devices, plan.devices_per_replica, now);
    try_one(0.01, 1000, [&](double x) { auto e = entry; e.plan.tokens_per_decode_step = x; return hours(e, lengths, plan.hardware); },
            [&](double x) {
              return cat(digits(1000 * now.decode_step_s * entry.plan.tokens_per_decode_step / x), " ms per token of the longest completion (",
                         digits(x), " tokens a decoding step)");
            });
  }
  if (lengths.text > 0) {
    try_one(1, 1e7, [&](double x) { auto l = lengths; l.text = x; return hours(entry, l, plan.hardware); },
            [](double x) { return cat("texts of ", human_count(x), " tokens on average"); });
  }
  try_one(1e-4, 1, [&](double x) { auto h = plan.hardware; h.train_utilisation = h.forward_utilisation = x; return hours(entry, lengths, h); },
          [](double x) { return cat("a utilisation of ", digits(100 * x), " % of the peak in training and forward passes"); });
  return out;
}

}  // namespace r1::pipeline
