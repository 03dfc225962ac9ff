#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace r1::report {

/// One figure over the steps of a stage, in the order in which it was written. NaN and infinities may occur.
struct Series {
  std::vector<int64_t> steps;
  std::vector<double> values;

  size_t size() const { return steps.size(); }
  void add(int64_t step, double value) {
    steps.push_back(step);
    values.push_back(value);
  }
};

/// At most `max_points` points of `series`, which shows the same peaks: all of it when it is short enough;
/// otherwise it is cut into (max_points - 2) / 3 buckets of consecutive points, equal in number but for one,
/// and of each the point with the least value, the one with the largest, and the first one that is not finite
/// are kept, with the first and the last point of all, in order. So the least and the largest value of the
/// whole and every gap stay; averages drawn from the thinned points do not. `max_points` below 5 counts as 5.
Series thin(const Series& series, size_t max_points);

/// The largest number of points a series, at most `max_points`, with which series of these lengths have no
/// more than `budget` points together; 5 at least.
size_t fair_points(const std::vector<size_t>& lengths, size_t max_points, size_t budget);

/// `count` of the indices 0 ... size - 1, evenly spread, the first and the last among them; all when size <=
/// count.
std::vector<size_t> pick_evenly(size_t size, size_t count);

}  // namespace r1::report
