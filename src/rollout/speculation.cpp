#include "r1/rollout/speculation.h"

#include <algorithm>
#include <cmath>

namespace r1::rollout {
namespace {

constexpr int64_t kTrialPasses = 6;
constexpr int64_t kLongestWait = 4096;
constexpr double kNewShare = 0.1;  // of the newest pass in the averages

}  // namespace

Speculation speculation_mode(const std::string& name) {
  return name == "off" ? Speculation::kOff : name == "always" ? Speculation::kAlways : Speculation::kAuto;
}

SpeculationStats SpeculationStats::operator-(const SpeculationStats& o) const {
  return {passes - o.passes, drafted - o.drafted, accepted - o.accepted, gained - o.gained, tokens - o.tokens,
          seconds - o.seconds, plain_seconds - o.plain_seconds};
}

std::vector<std::pair<std::string, double>> SpeculationStats::figures() const {
  std::vector<std::pair<std::string, double>> out;
  const auto add = [&](const char* name, double part, double whole) {
    if (whole > 0) out.emplace_back(name, part / whole);
  };
  add("speculation_acceptance", static_cast<double>(accepted), static_cast<double>(drafted));
  add("speculation_share", static_cast<double>(gained), static_cast<double>(tokens));
  add("speculation_speedup", plain_seconds, seconds);
  return out;
}

void SpeculationPolicy::Way::add(double s, double t) {
  const double share = seconds == 0 ? 1 : kNewShare;
  seconds += share * (s - seconds);
  per_sequence += share * (t - per_sequence);
  ++passes;
}

SpeculationPolicy::Width& SpeculationPolicy::width(int64_t sequences) {
  const auto i = static_cast<size_t>(std::lround(2 * std::log2(static_cast<double>(sequences))));
  if (widths_.size() <= i) widths_.resize(i + 1);
  return widths_[i];
}

bool SpeculationPolicy::choose(int64_t sequences) {
  if (mode_ != Speculation::kAuto) return mode_ == Speculation::kAlways;
  auto& w = width(sequences);
  if (w.drafting.passes < kTrialPasses) return true;
  if (w.plain.passes < kTrialPasses) return false;
  const bool drafting = w.drafting.rate() > w.plain.rate();
  if (++w.since_trial < w.wait) return drafting;
  w.since_trial = 0;
  w.wait = std::min(2 * w.wait, kLongestWait);
  (drafting ? w.plain : w.drafting).passes = 0;
  return !drafting;
}

void SpeculationPolicy::record(int64_t sequences, bool drafted, bool usual, int64_t tokens, double seconds, SpeculationStats& stats) {
  auto& w = width(sequences);
  const double per_sequence = static_cast<double>(tokens) / static_cast<double>(sequences);
  if (usual) (drafted ? w.drafting : w.plain).add(seconds, per_sequence);
  stats.passes += drafted ? 1 : 0;
  stats.tokens += tokens;
  if (!drafted) {
    stats.seconds += seconds;
    stats.plain_seconds += seconds;
  } else if (w.plain.seconds > 0) {
    stats.seconds += seconds;
    stats.plain_seconds += per_sequence * w.plain.seconds;
  }
}

}  // namespace r1::rollout
