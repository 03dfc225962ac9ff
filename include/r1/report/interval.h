#pragma once

namespace r1::report {

struct Interval {
  double low = 0, high = 1;
};

/// Wilson's score interval at 95 % of a share p that was seen over n independent yes-or-no trials, with z
/// = 1.959964:
///
///   (p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2/n)
///
/// It stays within 0 to 1 and has a width at p = 0 and 1 too. n <= 0 gives 0 to 1.
/// Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212.
Interval wilson_interval(double share, double trials);

}  // namespace r1::report
