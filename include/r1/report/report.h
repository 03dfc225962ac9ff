#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace r1::report {

struct WrittenReport {
  std::filesystem::path html;
  uint64_t bytes = 0;
  std::string table;  ///< for a terminal: accuracy by stage, seconds, alarms, of each run
};

/// The largest page that write_report makes.
constexpr uint64_t kMaxPageBytes = 5'000'000;

/// Reads one run directory, or two to compare, and writes one HTML page that needs nothing else: atomically,
/// and below kMaxPageBytes (curves are thinned and fewer samples kept until it fits). The runs may still be
/// going on.
///
///   costs  null, or an array with one entry per run, null or
///          {"tables": [{"title": "...", "columns": ["...", ...], "rows": [["...", ...], ...], "notes":
///          ["...", ...]}],
///           "stages": {"<name>": "$0.01"}}
///          Cells are texts, made by whoever knows prices; a stage's text stands in the picture of the graph.
///   out    empty: <run>/report.html, or <first>/report_vs_<second's folder>.html
///
/// Throws Error as read_run, and when the page cannot be written.
WrittenReport write_report(const std::vector<std::filesystem::path>& run_dirs,
                           const nlohmann::json& costs = nullptr, const std::filesystem::path& out = {});

}  // namespace r1::report
