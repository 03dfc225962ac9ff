#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/report/series.h"

namespace r1::report {

/// What a stage reads: an earlier stage's weights (`from`) or texts, or `base`, the run's model.
struct StageInput {
  std::string stage;
  std::string key;  ///< of the config: "from", "data.stage", ...
};

enum class StageState { kWaiting, kRunning, kStopped, kFinished };
const char* state_name(StageState state);  ///< "waiting", "running", "stopped", "finished"

/// What a stage has used, summed over all starts of the run.
struct StageCost {
  std::map<std::string, double>
      seconds;                ///< by phase: rollout, reward, update, eval, checkpoint, load, other
  double wall_seconds = 0;    ///< sum of the phases where there is a ledger, else as the stage says
  double device_seconds = 0;  ///< seconds x devices
  double lost_seconds = 0;    ///< of steps that a killed process had to repeat
  double tokens_in = 0, tokens_out = 0, trained_tokens = 0, flops = 0, joules = 0;
  std::string joules_source;  ///< "rapl", "nvml", "assumed", or several joined by " + "
};

struct StageRecord {
  std::string name, kind;
  std::vector<StageInput> inputs;
  std::map<std::string, double> reward_weights;  ///< of parts that weigh other than in `reward:` here
  StageState state = StageState::kWaiting;
  int64_t steps_done = 0, steps_total = 0;  ///< total 0: not known
  std::map<std::string, Series> series;     ///< by name, as in docs/metrics.md
  nlohmann::json summary;                   ///< stages/<name>.json, null until the stage is finished
  StageCost cost;

  /// The series of that name, or an empty one.
  const Series& find(const std::string& name) const;
};

struct RewardPart {
  std::string name, kind;
  double weight = 1;
};

/// All that a run directory holds but the sampled texts.
struct RunRecord {
  std::filesystem::path dir;
  std::string name;
  double as_of_s = 0;    ///< unix time at which it was read
  double written_s = 0;  ///< unix time of the newest row of metrics.jsonl, 0: none
  bool locked = false;   ///< a process works in the directory
  bool has_ledger = false;
  bool exact = true;   ///< the sampler's and the trainer's log-probabilities must be equal (docs/numerics.md)
  std::string config;  ///< config.yaml
  nlohmann::json starts = nlohmann::json::array();  ///< of run.json
  std::vector<RewardPart> parts;
  std::vector<StageRecord> stages;
  std::vector<std::string> log_tail;  ///< last lines of log.txt
  int64_t log_warnings = 0, log_errors = 0;
  std::vector<std::string> notes;  ///< what could not be read, in words

  /// The part that decides the verdict: the first that checks an answer, else the first; "" without any.
  std::string answer_part() const;
  /// Names of the parts of kind `format`.
  std::vector<std::string> format_parts() const;
};

/// Reads a run directory, also while a process writes in it: half a last line of a row file is left out with
/// a note, and a file that is not there (yet) is no error. Throws Error: no run directory (without
/// config.yaml), a config that cannot be read, a line of metrics.jsonl or ledger.jsonl before the last that
/// is no row, with file and line number.
RunRecord read_run(const std::filesystem::path& dir);

}  // namespace r1::report
