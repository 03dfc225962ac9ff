#pragma once
#include "plan_lengths.h"
#include "r1/pipeline/plan.h"

namespace r1::pipeline {

/// For a stage whose device hours were published: the value that one assumption would have to take, all others kept, for
/// the plan to give just these. An assumption that cannot do it alone is left out.
std::vector<std::string> explain_published(const StageEntry& entry, const Lengths& lengths, const Plan& plan, double published_hours);

}  // namespace r1::pipeline
