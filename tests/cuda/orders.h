#pragma once
#include <functional>
#include <vector>

#include "cuda/numbers.h"
#if !defined(R1_ON_GPU)
#include "support/emulator/grid.h"
#endif

namespace r1::test {

/// Runs `compute` twice, under the emulator in opposite thread orders, and expects the same bits; returns the
/// first result.
template <class T>
std::vector<T> deterministic(const std::function<std::vector<T>()>& compute) {
#if !defined(R1_ON_GPU)
  emulator::set_options({emulator::ThreadOrder::kDescending, 1});
#endif
  const auto first = compute();
#if !defined(R1_ON_GPU)
  emulator::set_options({emulator::ThreadOrder::kRandom, 5});
#endif
  const auto second = compute();
#if !defined(R1_ON_GPU)
  emulator::set_options({});
#endif
  EXPECT_TRUE(same_bits(first, second)) << "two runs differ";
  return first;
}

}  // namespace r1::test
