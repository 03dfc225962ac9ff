#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "r1/report/run_record.h"
#include "r1/report/samples.h"

namespace r1::report {

/// Something in a stage's figures that a person should look at. docs/report.md has the formula of each rule.
struct Alarm {
  std::string rule;  ///< "reward without accuracy", "length explodes", ...
  std::string stage;
  int64_t from_step = 0, to_step = 0;
  std::string text;  ///< one sentence with the figures
};

/// Mean, and standard error of the mean, of one fifth of a series.
struct Fifth {
  int64_t from_step = 0, to_step = 0;
  double mean = 0, error = 0;
  size_t count = 0;
};

/// The five windows of consecutive finite values of a series, equal in number but for one; empty for fewer
/// than ten values. error = sqrt(sum (x - mean)^2 / (n - 1) / n).
std::vector<Fifth> fifths(const Series& series);

/// A mean rises from window `a` to `b` when it grows by `least` and by three standard errors of the
/// difference.
bool rises(const Fifth& a, const Fifth& b, double least);

/// All alarms of a run, stage by stage:
///   - not finite: any value of any figure is NaN or infinite
///   - mismatch: logprob_error_max is not 0 where it must be (run.exact)
///   - reward without accuracy: a weighted part rises by 0.05 from a fifth to a later one, the answer part
///   does not rise by 0.01
///   - length explodes: completion_tokens_mean of a fifth is at least twice the first's, and the answer part
///   did not rise by 0.01, or
///     the share of truncated completions grew by 0.1
///   - entropy collapses: entropy of the last fifth is below a tenth of the first's, the answer part's mean
///   below 0.9
///   - repetition: in a rollout file that was read, at least a tenth of the completions repeat themselves
///   (TextSigns::repetitive)
std::vector<Alarm> find_alarms(const RunRecord& run, const std::vector<StageSamples>& samples);

}  // namespace r1::report
