#include "r1/report/series.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace r1::report {

Series thin(const Series& series, size_t max_points) {
  max_points = std::max<size_t>(max_points, 5);
  const size_t size = series.size();
  if (size <= max_points) return series;
  const size_t buckets = (max_points - 2) / 3;
  std::set<size_t> kept{0, size - 1};
  for (size_t b = 0; b < buckets; ++b) {
    const size_t begin = b * size / buckets, end = (b + 1) * size / buckets;
    size_t least = end, largest = end, gap = end;
    for (size_t i = begin; i < end; ++i) {
      const double value = series.values[i];
      if (!std::isfinite(value)) {
        if (gap == end) gap = i;
      } else {
        if (least == end || value < series.values[least]) least = i;
        if (largest == end || value > series.values[largest]) largest = i;
      }
    }
    for (const size_t i : {least, largest, gap}) {
      if (i < end) kept.insert(i);
    }
  }
  Series out;
  for (const size_t i : kept) out.add(series.steps[i], series.values[i]);
  return out;
}

size_t fair_points(const std::vector<size_t>& lengths, size_t max_points, size_t budget) {
  const auto total = [&](size_t points) {
    size_t sum = 0;
    for (const size_t length : lengths) sum += std::min(length, points);
    return sum;
  };
  size_t low = 5, high = std::max<size_t>(max_points, 5);  // the answer lies in [low, high]
  while (low < high) {
    const size_t middle = (low + high + 1) / 2;
    if (total(middle) <= budget) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

std::vector<size_t> pick_evenly(size_t size, size_t count) {
  std::vector<size_t> picked;
  if (size <= count) {
    for (size_t i = 0; i < size; ++i) picked.push_back(i);
    return picked;
  }
  if (count == 1) return {size - 1};
  for (size_t i = 0; i < count; ++i) picked.push_back(i * (size - 1) / (count - 1));
  return picked;
}

}  // namespace r1::report
