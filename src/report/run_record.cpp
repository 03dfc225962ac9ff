#include "r1/report/run_record.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <fstream>
#include <set>

#include "ledger_sums.h"
#include "r1/util/config.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"
#include "row_file.h"
#include "stage_graph.h"

namespace r1::report {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

constexpr size_t kLogLines = 200;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Whether a process holds the run directory's lock. It is looked up, not tried: trying would refuse a resume
// of the same moment.
bool is_locked(const fs::path& lock) {
  struct stat status;
  if (::stat(lock.c_str(), &status) != 0) return false;
  // "1: FLOCK  ADVISORY  WRITE 4711 08:01:123456 0 EOF"; the device of an overlay is not the one that stat
  // tells.
  const auto id = cat(":", status.st_ino, " ");
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    if (line.find("FLOCK") != std::string::npos && line.find(id) != std::string::npos) return true;
  }
  return false;
}

double modified_s(const fs::path& file) {
  struct stat status;
  return ::stat(file.c_str(), &status) == 0 ? static_cast<double>(status.st_mtime) : 0;
}

// A JSON file that is written atomically; null when it is not there.
json read_json(const fs::path& file, std::vector<std::string>& notes) {
  if (!is_there(file)) return nullptr;
  const auto value = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!value.is_discarded()) return value;
  notes.push_back(cat(file.filename().string(), " is no JSON, so it is left out"));
  return nullptr;
}

void read_metrics(RunRecord& run) {
  const auto file = run.dir / "metrics.jsonl";
  std::set<std::string> unknown;
  const bool whole = read_rows(file, [&](int64_t line, const json& row) {
    const auto step = row.find("step");
    if (step == row.end() || !step->is_number()) {
      throw Error(cat(file.string(), ":", line,
                      ": a row without a step; accepted: {\"stage\": \"grpo\", \"step\": 10, ...}.\n  ",
                      "Remove the line; the rest can be read."));
    }
    const auto name = text_of(row, "stage");
    const auto stage = std::find_if(run.stages.begin(), run.stages.end(),
                                    [&](const StageRecord& s) { return s.name == name; });
    if (stage == run.stages.end()) {
      unknown.insert(name.empty() ? "(none)" : name);
      return;
    }
    const auto at = step->get<int64_t>();
    stage->steps_done = std::max(stage->steps_done, at);
    for (const auto& [key, value] : row.items()) {
      double number = 0;
      if (key != "step" && is_number(value, number)) stage->series[key].add(at, number);
    }
  });
  if (!whole) run.notes.push_back("metrics.jsonl ends in half a line, which is left out");
  if (!unknown.empty()) {
    run.notes.push_back(cat("metrics.jsonl has rows of stages that the config does not have, left out: ",
                            join({unknown.begin(), unknown.end()}, ", ")));
  }
}

void read_log(RunRecord& run) {
  std::ifstream in(run.dir / "log.txt");
  std::deque<std::string> tail;
  for (std::string line; std::getline(in, line);) {
    // "2026-11-23 22:14:18 warning text"
    const auto level = line.size() > 19 ? std::string_view(line).substr(19) : std::string_view();
    if (level.starts_with(" warning ")) ++run.log_warnings;
    if (level.starts_with(" error ")) ++run.log_errors;
    tail.push_back(line.size() > 500 ? line.substr(0, 500) + "..." : line);
    if (tail.size() > kLogLines) tail.pop_front();
  }
  run.log_tail.assign(tail.begin(), tail.end());
}

void read_stage(RunRecord& run, StageRecord& stage) {
  const auto folder = run.dir / "stages";
  stage.summary = read_json(folder / (stage.name + ".json"), run.notes);
  const bool begun =
      is_there(folder / (stage.name + ".begun.json")) || stage.steps_done > 0 || !stage.series.empty();
  if (stage.summary.is_object()) {
    stage.state = StageState::kFinished;
    stage.steps_done =
        static_cast<int64_t>(number_of(stage.summary, "steps", static_cast<double>(stage.steps_done)));
    if (stage.steps_total == 0) stage.steps_total = stage.steps_done;
  } else if (begun) {
    stage.state = run.locked ? StageState::kRunning : StageState::kStopped;
  }
}

// Where products of a row may round differently from batch to batch, the two log-probabilities may differ.
bool is_exact(const ConfigNode& config) {
  for (const auto& [key, value] : config.leaves()) {
    if (key == "numerics" && value == "fast") return false;
    if (key == "device" && value.starts_with("cuda")) return false;
  }
  return true;
}

}  // namespace

const char* state_name(StageState state) {
  switch (state) {
    case StageState::kRunning:
      return "running";
    case StageState::kStopped:
      return "stopped";
    case StageState::kFinished:
      return "finished";
    case StageState::kWaiting:
      break;
  }
  return "waiting";
}

const Series& StageRecord::find(const std::string& name) const {
  static const Series empty;
  const auto it = series.find(name);
  return it == series.end() ? empty : it->second;
}

std::string RunRecord::answer_part() const {
  static const std::set<std::string> checks = {"exact_answer", "countdown", "code", "maths"};
  for (const auto& part : parts) {
    if (checks.contains(part.kind)) return part.name;
  }
  return parts.empty() ? "" : parts.front().name;
}

std::vector<std::string> RunRecord::format_parts() const {
  std::vector<std::string> names;
  for (const auto& part : parts) {
    if (part.kind == "format") names.push_back(part.name);
  }
  return names;
}

RunRecord read_run(const fs::path& dir) {
  if (!is_there(dir / "config.yaml")) {
    throw Error(cat(dir.string(), ": no run directory (",
                    is_there(dir) ? "it has no config.yaml" : "it does not exist",
                    "); accepted: a folder with config.yaml that `r1 run` made."));
  }
  RunRecord run;
  run.dir = dir;
  run.as_of_s = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const auto config = ConfigNode::load(dir / "config.yaml");
  run.name = fs::absolute(dir).lexically_normal().filename().string();
  config.read("name", run.name);
  run.config = read_file(dir / "config.yaml");
  run.exact = is_exact(config);
  run.parts = read_reward_parts(config);
  run.stages = read_stage_graph(config);
  run.locked = is_locked(dir / "lock");
  run.written_s = modified_s(dir / "metrics.jsonl");
  const auto starts = read_json(dir / "run.json", run.notes);
  if (starts.is_object() && starts.contains("starts") && starts["starts"].is_array())
    run.starts = starts["starts"];
  read_metrics(run);
  run.has_ledger = add_ledger(run);
  for (auto& stage : run.stages) {
    read_stage(run, stage);
    if (!run.has_ledger) add_costs_of_metrics(stage);
  }
  read_log(run);
  return run;
}

}  // namespace r1::report
