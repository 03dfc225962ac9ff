#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "r1/report/interval.h"
#include "r1/report/run_record.h"

namespace r1::report {

/// One evaluation on held-out problems, as docs/metrics.md describes its row.
struct Evaluation {
  int64_t step = 0;
  double accuracy = 0;
  double problems = 0;  ///< judged; 0 when the row does not say
  Interval interval;  ///< the row's eval_accuracy_low and _high; without them Wilson's, at 95 %, of accuracy
                      ///< over `problems`
  double tokens_mean = 0, truncated = 0;
  std::vector<std::pair<std::string, double>> parts;  ///< means of the reward parts, by name
  std::vector<std::pair<std::string, double>>
      votes;  ///< "pass@4", "cons@16", ... where several samples of a problem were drawn
};

/// All evaluations of a stage in the order of their steps. A row whose accuracy is not finite is left out.
std::vector<Evaluation> evaluations_of(const StageRecord& stage);

/// The mean of a part in an evaluation, NaN when it has none.
double part_of(const Evaluation& evaluation, const std::string& name);

}  // namespace r1::report
