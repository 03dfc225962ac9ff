#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace r1::pipeline {

/// What seconds are spent on, in the order of a row; the last is what the others leave.
constexpr std::array<const char*, 7> kPhases = {"rollout", "reward", "update", "eval", "checkpoint", "load", "other"};
enum Phase { kRollout, kReward, kUpdate, kEval, kCheckpoint, kLoad };

/// One line of ledger.jsonl.
struct LedgerRow {
  int64_t time;
  int64_t session;
  std::string stage;
  int64_t step;
  nlohmann::ordered_json seconds;  ///< by phase
  int64_t tokens_in, tokens_out, trained_tokens;
  double flops, joules;
  std::string joules_source;
  bool lost;
};
nlohmann::json ledger_row(const LedgerRow& row);
double total_seconds(const nlohmann::json& row);

/// All whole rows of a run's ledger.jsonl, none when there is no such file. A last line that a kill cut off is left out.
/// Throws Error naming file and line for another one that is no row.
std::vector<nlohmann::json> read_ledger(const std::filesystem::path& run_dir);

}  // namespace r1::pipeline
