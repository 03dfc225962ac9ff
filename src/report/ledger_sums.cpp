#include "ledger_sums.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "r1/util/strings.h"
#include "row_file.h"

namespace r1::report {
namespace {

void add_line(StageCost& cost, const nlohmann::json& line, std::set<std::string>& sources) {
  double seconds = 0;
  if (const auto phases = line.find("seconds"); phases != line.end() && phases->is_object()) {
    for (const auto& [phase, value] : phases->items()) {
      if (!value.is_number()) continue;
      cost.seconds[phase] += value.get<double>();
      seconds += value.get<double>();
    }
  }
  cost.wall_seconds += seconds;
  cost.device_seconds += seconds * number_of(line, "devices", 1);
  const auto lost = line.find("lost");
  if (lost != line.end() && *lost != false && !lost->is_null()) cost.lost_seconds += seconds;
  cost.tokens_in += number_of(line, "tokens_in", 0);
  cost.tokens_out += number_of(line, "tokens_out", 0);
  cost.trained_tokens += number_of(line, "trained_tokens", 0);
  cost.flops += number_of(line, "flops", 0);
  cost.joules += number_of(line, "joules", 0);
  if (const auto source = text_of(line, "joules_source"); !source.empty()) sources.insert(source);
}

double finite_sum(const Series& series) {
  double sum = 0;
  for (const double value : series.values) sum += std::isfinite(value) ? value : 0;
  return sum;
}

}  // namespace

bool add_ledger(RunRecord& run) {
  const auto file = run.dir / "ledger.jsonl";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return false;
  std::map<std::string, std::set<std::string>> sources;
  std::set<std::string> unknown;
  const bool whole = read_rows(file, [&](int64_t, const nlohmann::json& line) {
    const auto name = text_of(line, "stage");
    const auto stage = std::find_if(run.stages.begin(), run.stages.end(),
                                    [&](const StageRecord& s) { return s.name == name; });
    if (stage == run.stages.end()) {
      unknown.insert(name.empty() ? "(none)" : name);
    } else {
      add_line(stage->cost, line, sources[name]);
    }
  });
  if (!whole) run.notes.push_back("ledger.jsonl ends in half a line, which is left out");
  for (auto& stage : run.stages) {
    const auto& own = sources[stage.name];
    stage.cost.joules_source = join({own.begin(), own.end()}, " + ");
  }
  if (!unknown.empty()) {
    run.notes.push_back(
        cat("ledger.jsonl names stages that the config does not have, left out of the tables: ",
            join({unknown.begin(), unknown.end()}, ", ")));
  }
  return true;
}

void add_costs_of_metrics(StageRecord& stage) {
  auto& cost = stage.cost;
  for (const char* phase : {"rollout", "reward", "update", "eval"}) {
    const auto name = std::string(phase) + "_seconds";
    const double seconds =
        stage.summary.is_object() ? number_of(stage.summary, name.c_str(), 0) : finite_sum(stage.find(name));
    if (seconds > 0) cost.seconds[phase] = seconds;
  }
  double phases = 0;
  for (const auto& [phase, seconds] : cost.seconds) phases += seconds;
  // Text stages have one figure, `seconds`, of their updates.
  const double updates = finite_sum(stage.find("seconds"));
  if (updates > 0 && !cost.seconds.contains("update")) {
    cost.seconds["update"] = updates;
    phases += updates;
  }
  cost.wall_seconds = stage.summary.is_object() ? number_of(stage.summary, "seconds", phases) : phases;
  if (cost.wall_seconds > phases && phases > 0) cost.seconds["other"] = cost.wall_seconds - phases;
  cost.device_seconds = cost.wall_seconds;
  cost.tokens_out = finite_sum(stage.find("generated_tokens"));
  cost.trained_tokens = stage.summary.is_object() ? number_of(stage.summary, "trained_tokens", 0)
                                                  : finite_sum(stage.find("trained_tokens"));
}

}  // namespace r1::report
