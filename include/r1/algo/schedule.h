#pragma once
#include <cstdint>

#include "r1/util/config.h"

namespace r1::algo {

enum class ScheduleKind { kConstant, kLinear, kCosine };

/// Learning rate as a pure function of the step. With w = warmup_steps, T = total_steps, f = final_ratio:
///
///   step < w       lr * (step + 1) / w                                     (the first step is not wasted on
///   lr 0) constant       lr linear         lr * (1 + (f - 1) * x) cosine         lr * (f + (1 - f) * (1 +
///   cos(pi * x)) / 2) where          x = min(1, (step - w) / (T - w))
///
/// step counts optimizer steps from 0. Cosine: SGDR (arXiv:1608.03983) eq. (5) with one cycle.
struct LrSchedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double lr = 3e-6;          ///< the peak; R1-Zero's value
  int64_t warmup_steps = 0;  ///< optimizer steps
  int64_t total_steps =
      0;  ///< optimizer steps until lr * final_ratio; 0: the stage fills in its own number of steps
  double final_ratio = 0.0;  ///< of the peak, at total_steps and after

  /// The learning rate of `step` (0, 1, ...). Throws r1::Error when a decay has total_steps <= warmup_steps.
  double at(int64_t step) const;

  /// Keys: kind (constant | linear | cosine), lr, warmup_steps, total_steps, final_ratio.
  /// Throws Error with file:line:key.
  static LrSchedule parse(ConfigNode node);
};

}  // namespace r1::algo
