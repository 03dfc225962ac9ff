#pragma once
#include "plan_lengths.h"
#include "r1/pipeline/plan.h"

namespace r1::pipeline {

/// Fills steps, tokens, FLOPs and seconds of a stage on `devices` devices, of which `replica` share one copy of the weights.
/// Formulas: docs/plan.md.
void plan_time(const StageEntry& entry, const Lengths& lengths, const Hardware& hardware, int64_t devices, int64_t replica, StagePlan& stage);

}  // namespace r1::pipeline
