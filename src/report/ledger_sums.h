#pragma once
#include "r1/report/run_record.h"

namespace r1::report {

/// Adds the increments of <dir>/ledger.jsonl to the stages' costs and returns true, or returns false when
/// there is none. A line:
///
///   {"time": unix_s, "session": 1, "stage": "grpo", "step": 10, "seconds": {"rollout": 1.2, "update": 0.4,
///   ...}, "devices": 1,
///    "tokens_in": 64, "tokens_out": 900, "trained_tokens": 900, "flops": 1e9, "joules": 40, "joules_source":
///    "rapl"}
///
/// With `"lost": true` the same was spent on steps that a killed process had to repeat: it counts in every
/// sum and apart in lost_seconds. Lines of a stage that is not in the config go to no stage, with a note.
/// Throws as read_rows.
bool add_ledger(RunRecord& run);

/// Without a ledger: seconds and tokens from the stage's summary, or from its rows of metrics while it runs.
void add_costs_of_metrics(StageRecord& stage);

}  // namespace r1::report
