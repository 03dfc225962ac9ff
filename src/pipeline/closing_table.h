#pragma once
#include <string>

#include "run_directory.h"

namespace r1::pipeline {

/// What a run ends with: accuracy and format before and after every GRPO stage, tokens, seconds by phase, places.
std::string closing_table(const RunConfig& config, const RunDirectory& directory);

}  // namespace r1::pipeline
