#include "r1/rollout/speculation.h"

#include <algorithm>
#include <cmath>

namespace r1::rollout {
namespace {

constexpr int64_t kTrialPasses = 6;
constexpr int64_t kFirstWait = 64, kLongestWait = 4096;
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

bool SpeculationPolicy::choose(int64_t sequences, int64_t late_rows) {
  if (mode_ != Speculation::kAuto) return mode_ == Speculation::kAlways;
  auto& w = width(sequences);
  if (w.drafting.passes < kTrialPasses) return true;
  if (w.plain.passes < kTrialPasses) return false;
  const bool drafts = w.drafting.rate() > w.plain.rate();
  if (drafts != w.drafts) w.wait = kFirstWait;
  w.drafts = drafts;
  if (++w.since_trial >= w.wait) {
    w.since_trial = 0;
    w.wait = std::min(2 * w.wait, kLongestWait);
    (drafts ? w.plain : w.drafting).passes = 0;
    return !drafts;
  }
  if (!drafts) return false;
  if (late_rows > 0) lost_s_ += w.plain.seconds - w.plain.per_sequence / w.drafting.rate();
  if (lost_s_ < static_cast<double>(late_rows) * late_row_s_) return false;
  lost_s_ = 0;
  return true;
}

void SpeculationPolicy::record(int64_t sequences, bool drafted, int64_t late_rows, int64_t tokens, double seconds, SpeculationStats& stats) {
  auto& w = width(sequences);
  const double per_sequence = static_cast<double>(tokens) / static_cast<double>(sequences);
  if (!drafted || late_rows == 0) {
    (drafted ? w.drafting : w.plain).add(seconds, per_sequence);
  } else if (w.drafting.seconds > 0) {
    const double late_row_s = std::max(0.0, seconds - w.drafting.seconds) / static_cast<double>(late_rows);
    late_row_s_ += (late_row_s_ == 0 ? 1 : kNewShare) * (late_row_s - late_row_s_);
  }
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
