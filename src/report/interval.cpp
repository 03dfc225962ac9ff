#include "r1/report/interval.h"

#include <algorithm>
#include <cmath>

namespace r1::report {

Interval wilson_interval(double share, double trials) {
  if (!(trials > 0)) return {};
  constexpr double z = 1.959963984540054;  // 97.5 % of the standard normal distribution lies below it
  const double p = std::clamp(share, 0.0, 1.0), per_trial = z * z / trials;
  const double middle = p + per_trial / 2,
               half = z * std::sqrt(p * (1 - p) / trials + per_trial / (4 * trials));
  return {std::max(0.0, (middle - half) / (1 + per_trial)), std::min(1.0, (middle + half) / (1 + per_trial))};
}

}  // namespace r1::report
