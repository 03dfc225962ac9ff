#pragma once
#include "r1/report/run_record.h"
#include "r1/util/config.h"

namespace r1::report {

/// True for kinds whose output is weights that a later stage begins with by default.
bool makes_weights(const std::string& kind);

/// Names, kinds, inputs and planned steps of the stages of a config's `pipeline:`, in its order. Only what a
/// picture of the graph needs is read, so that a config of a newer or older version can be shown. An input is
/// `from` (by default the stage before that makes weights, else "base") and every other value of the section
/// that is the name of an earlier stage, whatever its key.
std::vector<StageRecord> read_stage_graph(const ConfigNode& config);

/// The parts of `reward:` in the config's order.
std::vector<RewardPart> read_reward_parts(const ConfigNode& config);

}  // namespace r1::report
