#include "r1/algo/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::algo {

double LrSchedule::at(int64_t step) const {
  if (step < warmup_steps) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == ScheduleKind::kConstant) return lr;
  if (total_steps <= warmup_steps) {
    throw Error(
        cat("learning-rate schedule: total_steps is ", total_steps, ", warmup_steps is ", warmup_steps,
            "; accepted: total_steps above warmup_steps.\n  Shorten the warm-up or train for more steps."));
  }
  const double x = std::min(
      1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps));
  if (kind == ScheduleKind::kLinear) return lr * (1.0 + (final_ratio - 1.0) * x);
  return lr * (final_ratio + (1.0 - final_ratio) * 0.5 * (1.0 + std::cos(std::numbers::pi * x)));
}

LrSchedule LrSchedule::parse(ConfigNode node) {
  LrSchedule s;
  std::string kind = "constant";
  node.read("kind", kind, one_of({"constant", "linear", "cosine"}));
  s.kind = kind == "constant" ? ScheduleKind::kConstant
           : kind == "linear" ? ScheduleKind::kLinear
                              : ScheduleKind::kCosine;
  node.read("lr", s.lr, between(0.0, 10.0), "It is the peak learning rate; R1-Zero uses 3e-6.");
  node.read("warmup_steps", s.warmup_steps, at_least<int64_t>(0), "It counts optimizer steps.");
  node.read("total_steps", s.total_steps, at_least<int64_t>(0),
            "It counts optimizer steps; 0 takes the number of steps of the stage.");
  node.read("final_ratio", s.final_ratio, between(0.0, 1.0), "It is a share of lr, reached at total_steps.");
  if (s.kind != ScheduleKind::kConstant && s.total_steps != 0 && s.total_steps <= s.warmup_steps) {
    node.reject("total_steps", cat("above warmup_steps = ", s.warmup_steps, ", or 0"),
                "A decay begins after the warm-up and needs at least one step.");
  }
  node.reject_unknown_keys();
  return s;
}

}  // namespace r1::algo
