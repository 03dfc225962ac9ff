#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/util/config.h"

namespace r1::pipeline {

/// The `cost:` section: what an hour of the device and a kilowatt-hour cost. The defaults are those of
/// configs/hardware/cpu.yaml, where their sources are.
struct CostConfig {
  std::string device = "cpu";                 ///< what tables call it
  double price_per_hour = 0.10;               ///< $ per device hour; a CPU run is one device
  double watts = 30;                          ///< of a device, where no counter of its energy can be read
  std::vector<double> tariffs = {0.18, 0.08}; ///< $ per kWh, side by side
  static CostConfig parse(ConfigNode node);
};

/// What `run_dir`'s ledger.jsonl adds up to, priced by the `cost:` section of its config.yaml; see docs/plan.md:
///
///   {"device", "price_per_hour", "tariffs": [$/kWh ...], "sessions",
///    "stages": [{"stage", "seconds": {by phase}, "total_seconds", "lost_seconds", "device_hours", "dollars", "tokens_in",
///                "tokens_out", "trained_tokens", "flops", "h800_hours", "joules", "kwh", "joules_source",
///                "energy_dollars": [by tariff]}, ...],            in order of first appearance
///    "total": {the same without "stage"},
///    "paper": [{"stage", "h800_hours", "dollars"}, ...]}          arXiv:2501.12948v2, Table 7
///
/// "h800_hours" is the time that the FLOPs would take on an H800 at 39 % of its dense bfloat16 peak (989 TFLOP/s), what
/// DeepSeek-V3's pre-training reached (docs/plan.md). A run without a ledger has no stages.
/// Throws Error for a broken line.
nlohmann::json cost_summary(const std::filesystem::path& run_dir);

/// cost_summary as tables of texts in the shape of the paper's Table 7, the paper's own below:
///   {"tables": [{"title", "columns": [...], "rows": [[...], ...], "notes": [...]}, ...], "stages": {name: "$0.01"}}
nlohmann::json cost_tables(const nlohmann::json& summary);
/// The same as lines of text.
std::string cost_table(const nlohmann::json& summary);

}  // namespace r1::pipeline
