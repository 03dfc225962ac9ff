#pragma once
#include <nlohmann/json.hpp>
#include <vector>

#include "r1/report/samples.h"

namespace r1::report {

using GroupsOfFiles =
    std::vector<std::vector<nlohmann::json>>;  ///< [file][rank], the group that shows most first

/// Moves into stages[s].groups what fits of groups[s] into limits.total_bytes: one group of every stage in
/// turn, of files spread over its steps, rank by rank. Texts are cut shorter, to limits.least_text_bytes at
/// least, until every stage has groups_per_stage.
void keep_fitting(std::vector<StageSamples>& stages, std::vector<GroupsOfFiles>& groups,
                  const SampleLimits& limits);

}  // namespace r1::report
