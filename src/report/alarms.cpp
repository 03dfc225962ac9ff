#include "r1/report/alarms.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "r1/util/strings.h"

namespace r1::report {
namespace {

constexpr size_t kWindows = 5;
constexpr double kPartRise = 0.05, kAccuracyRise = 0.01, kAccuracyCeiling = 0.95;
constexpr double kLengthFactor = 2, kTruncatedRise = 0.1;
constexpr double kEntropyFactor = 0.1, kEntropyAccuracy = 0.9;
constexpr double kRepetitiveShare = 0.1;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, std::fabs(value) >= 1000 ? "%.0f" : "%.3g", value);
  return text;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

// The answer part's series over the training rollouts, empty where there is none.
const Series& accuracy_of(const RunRecord& run, const StageRecord& stage) {
  return stage.find("reward_" + run.answer_part());
}

void not_finite(const StageRecord& stage, std::vector<Alarm>& out) {
  for (const auto& [name, series] : stage.series) {
    std::optional<int64_t> first;
    int64_t last = 0, count = 0;
    for (size_t i = 0; i < series.size(); ++i) {
      if (std::isfinite(series.values[i])) continue;
      if (!first) first = series.steps[i];
      last = series.steps[i];
      ++count;
    }
    if (!first) continue;
    out.push_back({"not finite", stage.name, *first, last,
                   cat(name, " is NaN or infinite in ", count, " rows, first at step ", *first)});
  }
}

void mismatch(const RunRecord& run, const StageRecord& stage, std::vector<Alarm>& out) {
  if (!run.exact) return;
  const auto& series = stage.find("logprob_error_max");
  std::optional<int64_t> first;
  int64_t last = 0, count = 0;
  double largest = 0;
  for (size_t i = 0; i < series.size(); ++i) {
    if (!(series.values[i] > 0)) continue;  // what is not finite has its own alarm
    if (!first) first = series.steps[i];
    last = series.steps[i];
    largest = std::max(largest, series.values[i]);
    ++count;
  }
  if (!first) return;
  out.push_back({"mismatch", stage.name, *first, last,
                 cat("|logprob(trainer) - logprob(sampler)| is up to ", number(largest), " nats in ", count,
                     " of ", series.size(), " rollouts, first at step ", *first, "; expected: exactly 0")});
}

// Both series at the steps that both have, finite in both: a part may be paid in the last steps alone.
std::pair<Series, Series> at_common_steps(const Series& a, const Series& b) {
  std::pair<Series, Series> out;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a.steps[i] != b.steps[j]) {
      ++(a.steps[i] < b.steps[j] ? i : j);
      continue;
    }
    if (std::isfinite(a.values[i]) && std::isfinite(b.values[j])) {
      out.first.add(a.steps[i], a.values[i]);
      out.second.add(b.steps[j], b.values[j]);
    }
    ++i;
    ++j;
  }
  return out;
}

// The config's parts with the weights of this stage, and those that only this stage has (a reward model's
// score).
std::vector<RewardPart> parts_of(const RunRecord& run, const StageRecord& stage) {
  auto parts = run.parts;
  for (const auto& [name, weight] : stage.reward_weights) {
    const auto part =
        std::find_if(parts.begin(), parts.end(), [&, n = name](const RewardPart& p) { return p.name == n; });
    if (part == parts.end()) {
      parts.push_back({name, "", weight});
    } else {
      part->weight = weight;
    }
  }
  return parts;
}

void reward_without_accuracy(const RunRecord& run, const StageRecord& stage, std::vector<Alarm>& out) {
  for (const auto& part : parts_of(run, stage)) {
    if (part.name == run.answer_part() || part.weight == 0) continue;
    const auto [own, answers] = at_common_steps(stage.find("reward_" + part.name), accuracy_of(run, stage));
    const auto windows = fifths(own), accuracy = fifths(answers);
    if (windows.empty()) continue;
    const double direction = part.weight < 0 ? -1 : 1;  // a penalty that shrinks is a gain
    double most = 0;
    std::optional<Alarm> found;
    for (size_t i = 0; i < kWindows; ++i) {
      for (size_t j = i + 1; j < kWindows; ++j) {
        Fifth a = windows[i], b = windows[j];
        a.mean *= direction;
        b.mean *= direction;
        const double gain = b.mean - a.mean;
        if (gain <= most || !rises(a, b, kPartRise)) continue;
        if (accuracy[i].mean >= kAccuracyCeiling || accuracy[j].mean - accuracy[i].mean >= kAccuracyRise)
          continue;
        most = gain;
        found = Alarm{"reward without accuracy", stage.name, windows[i].from_step, windows[j].to_step,
                      cat("part ", part.name, " goes from ", number(windows[i].mean), " to ",
                          number(windows[j].mean), ", while ", run.answer_part(), " goes from ",
                          number(accuracy[i].mean), " to ", number(accuracy[j].mean))};
      }
    }
    if (found) out.push_back(*found);
  }
}

void length_explodes(const RunRecord& run, const StageRecord& stage, std::vector<Alarm>& out) {
  const auto length = fifths(stage.find("completion_tokens_mean"));
  if (length.empty() || length[0].mean <= 0) return;
  const auto accuracy = fifths(accuracy_of(run, stage)), truncated = fifths(stage.find("truncated"));
  for (size_t j = kWindows - 1; j > 0; --j) {
    if (length[j].mean < kLengthFactor * length[0].mean) continue;
    const bool no_gain = !accuracy.empty() && accuracy[j].mean - accuracy[0].mean < kAccuracyRise;
    const bool cut = !truncated.empty() && truncated[j].mean - truncated[0].mean >= kTruncatedRise;
    if (!no_gain && !cut) continue;
    std::string why;
    if (no_gain)
      why += cat(", while ", run.answer_part(), " goes from ", number(accuracy[0].mean), " to ",
                 number(accuracy[j].mean));
    if (cut)
      why += cat(", and ", percent(truncated[j].mean), " are cut at the limit (", percent(truncated[0].mean),
                 " at first)");
    out.push_back({"length explodes", stage.name, length[0].from_step, length[j].to_step,
                   cat("completions grow from ", number(length[0].mean), " to ", number(length[j].mean),
                       " tokens", why)});
    return;
  }
}

void entropy_collapses(const RunRecord& run, const StageRecord& stage, std::vector<Alarm>& out) {
  const auto entropy = fifths(stage.find("entropy")), accuracy = fifths(accuracy_of(run, stage));
  if (entropy.empty() || entropy.back().mean >= kEntropyFactor * entropy.front().mean) return;
  if (!accuracy.empty() && accuracy.back().mean >= kEntropyAccuracy) return;
  const auto reached = accuracy.empty()
                           ? std::string()
                           : cat(", with ", run.answer_part(), " at ", number(accuracy.back().mean));
  out.push_back({"entropy collapses", stage.name, entropy.back().from_step, entropy.back().to_step,
                 cat("entropy goes from ", number(entropy.front().mean), " to ", number(entropy.back().mean),
                     " nats per token", reached, ": the samples of a group become alike and teach little")});
}

void repetition(const StageSamples& samples, std::vector<Alarm>& out) {
  std::optional<int64_t> first;
  int64_t last = 0, files = 0;
  double most = 0;
  for (const auto& signs : samples.signs) {
    if (signs.repetitive < kRepetitiveShare) continue;
    if (!first) first = signs.step;
    last = signs.step;
    most = std::max(most, signs.repetitive);
    ++files;
  }
  if (!first) return;
  out.push_back({"repetition", samples.stage, *first, last,
                 cat("up to ", percent(most), " of the completions repeat themselves, in ", files, " of ",
                     samples.signs.size(), " step files that were read, first at step ", *first)});
}

}  // namespace

std::vector<Fifth> fifths(const Series& series) {
  Series finite;
  for (size_t i = 0; i < series.size(); ++i) {
    if (std::isfinite(series.values[i])) finite.add(series.steps[i], series.values[i]);
  }
  if (finite.size() < 2 * kWindows) return {};
  std::vector<Fifth> windows;
  for (size_t w = 0; w < kWindows; ++w) {
    const size_t begin = w * finite.size() / kWindows, end = (w + 1) * finite.size() / kWindows;
    Fifth window{finite.steps[begin], finite.steps[end - 1], 0, 0, end - begin};
    const auto n = static_cast<double>(window.count);
    for (size_t i = begin; i < end; ++i) window.mean += finite.values[i] / n;
    double squares = 0;
    for (size_t i = begin; i < end; ++i)
      squares += (finite.values[i] - window.mean) * (finite.values[i] - window.mean);
    window.error = std::sqrt(squares / (n - 1) / n);
    windows.push_back(window);
  }
  return windows;
}

bool rises(const Fifth& a, const Fifth& b, double least) {
  const double gain = b.mean - a.mean;
  return gain >= least && gain >= 3 * std::sqrt(a.error * a.error + b.error * b.error);
}

std::vector<Alarm> find_alarms(const RunRecord& run, const std::vector<StageSamples>& samples) {
  std::vector<Alarm> out;
  for (const auto& stage : run.stages) {
    not_finite(stage, out);
    mismatch(run, stage, out);
    reward_without_accuracy(run, stage, out);
    length_explodes(run, stage, out);
    entropy_collapses(run, stage, out);
    for (const auto& texts : samples) {
      if (texts.stage == stage.name) repetition(texts, out);
    }
  }
  return out;
}

}  // namespace r1::report
