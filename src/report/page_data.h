#pragma once
#include <nlohmann/json.hpp>

#include "r1/report/alarms.h"
#include "r1/report/run_record.h"
#include "r1/report/samples.h"

namespace r1::report {

/// Everything of one run that the page shows, as the scripts of page/ read it.
struct RunContents {
  RunRecord run;
  std::vector<StageSamples> samples;
  std::vector<Alarm> alarms;
};

/// `max_points` of one curve, as `fair_points` gave them.
nlohmann::ordered_json run_json(const RunContents& contents, size_t max_points, const nlohmann::json& costs);

/// The lengths of all curves of a run.
std::vector<size_t> curve_lengths(const RunContents& contents);

}  // namespace r1::report
