#include "terminal_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "r1/report/evaluations.h"
#include "r1/util/strings.h"

namespace r1::report {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Characters of UTF-8 that a terminal shows.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

// Columns as wide as their widest cell; the first one to the left, the others to the right.
std::string aligned(const Rows& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - width_of(row[c]), ' ');
      line += c == 0 ? "  " + row[c] + space : "  " + space + row[c];
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string percent(double share) {
  if (!std::isfinite(share)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

std::string accuracy_cell(const Evaluation& e) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %% [%.1f, %.1f]", 100 * e.accuracy, 100 * e.interval.low,
                100 * e.interval.high);
  return text;
}

std::string tokens_cell(double tokens) {
  if (!std::isfinite(tokens)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", tokens);
  return text;
}

std::string evaluation_table(const RunRecord& run) {
  const auto formats = run.format_parts();
  Rows rows{
      {"held-out problems", "accuracy before", "after", "format", "after", "tokens", "after", "problems"}};
  for (const auto& stage : run.stages) {
    const auto all = evaluations_of(stage);
    if (all.empty()) continue;
    const auto &first = all.front(), &last = all.back();
    const auto format = [&](const Evaluation& e) {
      return formats.empty() ? std::string("-") : percent(part_of(e, formats.front()));
    };
    const bool one = all.size() == 1;
    rows.push_back({stage.name, one ? "" : accuracy_cell(first), accuracy_cell(last),
                    one ? "" : format(first), format(last), one ? "" : tokens_cell(first.tokens_mean),
                    tokens_cell(last.tokens_mean), cat(last.problems)});
  }
  return rows.size() == 1 ? "" : aligned(rows) + "  (95 % Wilson intervals)\n\n";
}

std::string stage_table(const RunRecord& run) {
  std::vector<std::string> phases;
  for (const char* phase : {"rollout", "reward", "update", "eval", "checkpoint", "load", "other"}) {
    if (std::any_of(run.stages.begin(), run.stages.end(),
                    [&](const StageRecord& s) { return s.cost.seconds.contains(phase); })) {
      phases.emplace_back(phase);
    }
  }
  Rows rows{{"stage", "kind", "state", "steps", "time"}};
  rows[0].insert(rows[0].end(), phases.begin(), phases.end());
  double total = 0;
  for (const auto& stage : run.stages) {
    const auto steps =
        stage.steps_total > 0 ? cat(stage.steps_done, "/", stage.steps_total) : cat(stage.steps_done);
    const double wall = stage.cost.wall_seconds;
    rows.push_back(
        {stage.name, stage.kind, state_name(stage.state), steps, wall > 0 ? human_seconds(wall) : "-"});
    for (const auto& phase : phases) {
      const auto it = stage.cost.seconds.find(phase);
      rows.back().push_back(it == stage.cost.seconds.end() ? "-" : human_seconds(it->second));
    }
    total += wall;
  }
  rows.push_back({"all stages", "", "", "", human_seconds(total)});
  return aligned(rows) + "\n";
}

std::string alarm_lines(const std::vector<Alarm>& alarms) {
  if (alarms.empty()) return "  no alarms\n";
  std::string out;
  for (const auto& alarm : alarms) {
    out += cat("  ALARM ", alarm.stage, ", steps ", alarm.from_step, " to ", alarm.to_step, ": ", alarm.rule,
               "\n    ", alarm.text, "\n");
  }
  return out;
}

}  // namespace

std::string utc_text(double unix_s) {
  const auto seconds = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

std::string terminal_table(const RunContents& contents) {
  const auto& run = contents.run;
  std::string out = cat("run ", run.name, " (", run.dir.string(), "), as of ", utc_text(run.as_of_s),
                        run.locked ? ", going on" : "", "\n\n");
  out += stage_table(run) + evaluation_table(run) + alarm_lines(contents.alarms);
  if (run.written_s == 0) out += "  no figures yet: metrics.jsonl is not there\n";
  for (const auto& note : run.notes) out += cat("  note: ", note, "\n");
  return out + "\n";
}

}  // namespace r1::report
