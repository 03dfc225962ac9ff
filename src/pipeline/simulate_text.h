#pragma once
#include "simulate_stage.h"

namespace r1::pipeline {

/// A stage's simulation as lines of text: layouts, phases, bytes, hours, assumptions.
std::string stage_text(const StageEntry& entry, const StageInputs& inputs, const StageResult& result, const std::vector<TriedLayout>& tried);

}  // namespace r1::pipeline
