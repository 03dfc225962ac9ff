#include "page_data.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "r1/report/evaluations.h"

namespace r1::report {

using nlohmann::ordered_json;
namespace {

constexpr size_t kConfigBytes = 64 << 10;

// Six significant digits, and whole numbers without a point: half the bytes of the exact form. Not finite:
// null.
ordered_json brief(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::fabs(value) < 1e15) return static_cast<int64_t>(value);
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::strtod(text, nullptr);
}

ordered_json series_json(const Series& series, size_t max_points) {
  const auto kept = thin(series, max_points);
  auto values = ordered_json::array();
  for (const double value : kept.values) values.push_back(brief(value));
  ordered_json out{{"s", kept.steps}, {"v", std::move(values)}};
  if (kept.size() < series.size()) out["of"] = series.size();
  return out;
}

ordered_json evaluations_json(const StageRecord& stage) {
  auto out = ordered_json::array();
  for (const auto& e : evaluations_of(stage)) {
    ordered_json row{{"step", e.step},
                     {"accuracy", brief(e.accuracy)},
                     {"low", brief(e.interval.low)},
                     {"high", brief(e.interval.high)},
                     {"problems", brief(e.problems)},
                     {"tokens", brief(e.tokens_mean)},
                     {"truncated", brief(e.truncated)},
                     {"parts", ordered_json::object()},
                     {"votes", ordered_json::object()}};
    for (const auto& [name, value] : e.parts) row["parts"][name] = brief(value);
    for (const auto& [name, value] : e.votes) row["votes"][name] = brief(value);
    out.push_back(std::move(row));
  }
  // A curve shows them all; the table needs no more than a few hundred.
  ordered_json few = ordered_json::array();
  for (const size_t i : pick_evenly(out.size(), 200)) few.push_back(out[i]);
  return few;
}

ordered_json cost_json(const StageCost& cost) {
  ordered_json seconds = ordered_json::object();
  for (const auto& [phase, value] : cost.seconds) seconds[phase] = brief(value);
  return {{"seconds", seconds},
          {"wall", brief(cost.wall_seconds)},
          {"device", brief(cost.device_seconds)},
          {"lost", brief(cost.lost_seconds)},
          {"tokens_in", brief(cost.tokens_in)},
          {"tokens_out", brief(cost.tokens_out)},
          {"trained_tokens", brief(cost.trained_tokens)},
          {"flops", brief(cost.flops)},
          {"joules", brief(cost.joules)},
          {"joules_source", cost.joules_source}};
}

// The figures of the sampled texts as curves, beside those of metrics.jsonl.
std::map<std::string, Series> text_series(const StageSamples& samples) {
  std::map<std::string, Series> out;
  for (const auto& signs : samples.signs) {
    if (signs.completions == 0) continue;
    out["text_reflective_words"].add(signs.step, signs.reflective_words);
    out["text_repetitive"].add(signs.step, signs.repetitive);
  }
  return out;
}

ordered_json stage_json(const StageRecord& stage, const StageSamples* samples, size_t max_points) {
  ordered_json inputs = ordered_json::array(), series = ordered_json::object();
  for (const auto& input : stage.inputs) inputs.push_back({{"stage", input.stage}, {"key", input.key}});
  for (const auto& [name, values] : stage.series) series[name] = series_json(values, max_points);
  if (samples != nullptr) {
    for (const auto& [name, values] : text_series(*samples)) series[name] = series_json(values, max_points);
  }
  ordered_json out{{"name", stage.name},
                   {"kind", stage.kind},
                   {"inputs", std::move(inputs)},
                   {"state", state_name(stage.state)},
                   {"done", stage.steps_done},
                   {"total", stage.steps_total},
                   {"cost", cost_json(stage.cost)},
                   {"evaluations", evaluations_json(stage)},
                   {"series", std::move(series)}};
  for (const char* key : {"sampled", "passed", "kept", "problems", "solved_problems"}) {
    if (stage.summary.is_object() && stage.summary.contains(key) && stage.summary[key].is_number())
      out[key] = stage.summary[key];
  }
  return out;
}

const StageSamples* samples_of(const RunContents& contents, const std::string& stage) {
  for (const auto& samples : contents.samples) {
    if (samples.stage == stage) return &samples;
  }
  return nullptr;
}

}  // namespace

std::vector<size_t> curve_lengths(const RunContents& contents) {
  std::vector<size_t> lengths;
  for (const auto& stage : contents.run.stages) {
    for (const auto& [name, series] : stage.series) lengths.push_back(series.size());
  }
  for (const auto& samples : contents.samples) lengths.insert(lengths.end(), 2, samples.signs.size());
  return lengths;
}

ordered_json run_json(const RunContents& contents, size_t max_points, const nlohmann::json& costs) {
  const auto& run = contents.run;
  ordered_json stages = ordered_json::array(), alarms = ordered_json::array(),
               samples = ordered_json::array(), parts = ordered_json::array();
  for (const auto& stage : run.stages)
    stages.push_back(stage_json(stage, samples_of(contents, stage.name), max_points));
  for (const auto& alarm : contents.alarms) {
    alarms.push_back({{"rule", alarm.rule},
                      {"stage", alarm.stage},
                      {"from", alarm.from_step},
                      {"to", alarm.to_step},
                      {"text", alarm.text}});
  }
  for (const auto& texts : contents.samples) {
    samples.push_back({{"stage", texts.stage},
                       {"files", texts.files},
                       {"files_read", texts.steps_read.size()},
                       {"groups_read", texts.groups_read},
                       {"groups", texts.groups}});
  }
  for (const auto& part : run.parts)
    parts.push_back({{"name", part.name}, {"kind", part.kind}, {"weight", part.weight}});
  size_t cut = 0;
  return {{"name", run.name},
          {"dir", run.dir.string()},
          {"as_of", brief(std::floor(run.as_of_s))},
          {"written", brief(std::floor(run.written_s))},
          {"locked", run.locked},
          {"ledger", run.has_ledger},
          {"exact", run.exact},
          {"starts", run.starts},
          {"parts", std::move(parts)},
          {"answer_part", run.answer_part()},
          {"stages", std::move(stages)},
          {"alarms", std::move(alarms)},
          {"samples", std::move(samples)},
          {"costs", costs},
          {"config", shorten(run.config, kConfigBytes, cut)},
          {"log", run.log_tail},
          {"log_warnings", run.log_warnings},
          {"log_errors", run.log_errors},
          {"notes", run.notes}};
}

}  // namespace r1::report
