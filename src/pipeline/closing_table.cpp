#include "closing_table.h"

#include <cstdio>

#include "r1/pipeline/cost.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::string percent(const nlohmann::json& row, const std::string& key) {
  if (!row.contains(key)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * row.at(key).get<double>());
  return text;
}

std::string interval(const nlohmann::json& row, const std::string& key) {
  if (!row.contains(key + "_low")) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f-%.1f %%", 100 * row.at(key + "_low").get<double>(), 100 * row.at(key + "_high").get<double>());
  return text;
}

std::string line(const std::string& name, const std::string& before, const std::string& after) {
  char text[160];
  std::snprintf(text, sizeof text, "  %-28s %12s %12s\n", name.c_str(), before.c_str(), after.c_str());
  return text;
}

std::string evaluation_lines(const nlohmann::json& evaluations) {
  if (evaluations.empty()) return "";
  const auto &first = evaluations.front(), &last = evaluations.back();
  std::string out = line(cat("held-out problems: ", first.at("eval_problems").get<double>()), "before", "after");
  out += line("accuracy", percent(first, "eval_accuracy"), percent(last, "eval_accuracy"));
  out += line("  95 % interval", interval(first, "eval_accuracy"), interval(last, "eval_accuracy"));
  for (const auto& [key, value] : last.items()) {
    const bool estimate = key.starts_with("eval_pass_at_") || key.starts_with("eval_cons_at_");
    if (estimate && !key.ends_with("_low") && !key.ends_with("_high")) out += line(key.substr(5), percent(first, key), percent(last, key));
  }
  for (const auto& [key, value] : last.items()) {
    if (key.starts_with("eval_reward_") && key != "eval_reward_accuracy") {
      out += line(key.substr(12), percent(first, key), percent(last, key));
    }
  }
  return out + line("tokens per answer", cat(first.at("eval_tokens_mean").get<double>()), cat(last.at("eval_tokens_mean").get<double>()));
}

std::string share(const nlohmann::json& s, const char* part, const char* whole) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * s.at(part).get<double>() / s.at(whole).get<double>());
  return text;
}

std::string stage_lines(const nlohmann::json& s) {
  std::string out;
  if (s.contains("evaluations")) out += evaluation_lines(s.at("evaluations"));
  if (s.contains("kept")) {
    return out + cat("  ", s.at("sampled").get<int64_t>(), " completions of ", s.at("problems").get<int64_t>(), " problems: ",
                     share(s, "passed", "sampled"), " pass, ", share(s, "solved_problems", "problems"), " of the problems solved, ",
                     s.at("kept").get<int64_t>(), " kept\n");
  }
  if (s.contains("wrote")) return out + "  " + s.at("wrote").get<std::string>() + "\n";
  if (s.contains("preference_evaluations")) {
    out += cat("  ", s.at("examples").get<int64_t>(), " preferences, last loss ", s.at("loss").get<double>(), "\n");
    const auto& done = s.at("preference_evaluations");
    if (done.empty()) return out;
    out += line(cat("held-out preferences: ", done.back().at("examples").get<int64_t>()), "before", "after");
    return out + line("judged right", percent(done.front(), "preference_accuracy"), percent(done.back(), "preference_accuracy"));
  }
  if (!s.contains("trained_tokens")) return out;  // an evaluation
  if (!s.contains("generated_tokens")) {
    return out + cat("  ", human_count(s.at("trained_tokens")), " tokens, last loss ", s.at("loss").get<double>(), " nats per token\n");
  }
  out += line("tokens", cat(human_count(s.at("generated_tokens")), " sampled"), cat(human_count(s.at("trained_tokens")), " trained"));
  out += cat("  seconds: rollout ", human_seconds(s.at("rollout_seconds")), ", reward ", human_seconds(s.at("reward_seconds")), ", update ",
             human_seconds(s.at("update_seconds")), ", evaluation ", human_seconds(s.at("eval_seconds")), "\n");
  char error[64];
  std::snprintf(error, sizeof error, "%g", s.at("largest_logprob_error").get<double>());
  return out + cat("  largest |logprob(trainer) - logprob(sampler)| on on-policy data: ", error, "\n");
}

// One row per evaluated stage, its last figures: how the model grew. Empty unless there are two.
std::string table_by_stage(const RunConfig& config, const RunDirectory& directory) {
  std::vector<std::pair<std::string, nlohmann::json>> rows;
  for (const auto& entry : config.stages) {
    const auto summary = directory.finished_stage(entry.name);
    if (!summary || !summary->contains("evaluations") || summary->at("evaluations").empty()) continue;
    rows.emplace_back(entry.name, summary->at("evaluations").back());
  }
  if (rows.size() < 2) return "";
  std::vector<std::string> columns;
  for (const auto& [key, value] : rows.back().second.items()) {
    if (key.starts_with("eval_reward_") && key != "eval_reward_accuracy") columns.push_back(key);
  }
  char cell[64];
  std::snprintf(cell, sizeof cell, "  %-24s %10s", "held-out problems, after", "accuracy");
  std::string out = cell;
  for (const auto& column : columns) {
    std::snprintf(cell, sizeof cell, " %10s", column.substr(12).c_str());
    out += cell;
  }
  out += "     tokens\n";
  for (const auto& [name, row] : rows) {
    std::snprintf(cell, sizeof cell, "  %-24s %10s", name.c_str(), percent(row, "eval_accuracy").c_str());
    out += cell;
    for (const auto& column : columns) {
      std::snprintf(cell, sizeof cell, " %10s", percent(row, column).c_str());
      out += cell;
    }
    std::snprintf(cell, sizeof cell, " %10.1f\n", row.at("eval_tokens_mean").get<double>());
    out += cell;
  }
  return out;
}

}  // namespace

std::string closing_table(const RunConfig& config, const RunDirectory& directory) {
  std::string out = "\n";
  double total = 0;
  std::string last_weights;
  for (const auto& entry : config.stages) {
    const auto summary = directory.finished_stage(entry.name);
    if (!summary) continue;
    total += summary->at("seconds").get<double>();
    out += cat("stage ", entry.name, " (", entry.kind, "), ", summary->at("steps").get<int64_t>(), " steps, ",
               human_seconds(summary->at("seconds")), "\n");
    out += stage_lines(*summary);
    if (entry.makes_weights()) last_weights = entry.name;
  }
  const auto path = directory.path();
  if (const auto table = table_by_stage(config, directory); !table.empty()) out += table + "\n";
  out += cat("all stages ", human_seconds(total), "\n\n", cost_table(cost_summary(directory.path())), "\nmetrics      ", (path / "metrics.jsonl").string(), "\nTensorBoard  ",
             (path / "tb").string(), "\nsamples      ", (path / "rollouts").string(), "/<stage>/step-*.jsonl.zst\nweights      ",
             (path / "checkpoints" / last_weights / "latest").string(), " (a Hugging Face directory)\n");
  return out;
}

}  // namespace r1::pipeline
