#include "r1/pipeline/cost.h"

#include <cmath>
#include <cstdio>

#include "ledger_rows.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

using nlohmann::json;

constexpr double kH800FlopsPerHour = 989e12 * 0.39 * 3600;

struct PaperRow {
  const char* stage;
  double h800_hours, dollars;
};
// arXiv:2501.12948v2, Table 7: H800 GPU hours, $2 per hour.
constexpr PaperRow kTable7[] = {
    {"DeepSeek-R1-Zero", 101e3, 202e3}, {"SFT data creation", 5e3, 10e3}, {"DeepSeek-R1", 41e3, 82e3}, {"total", 147e3, 294e3}};

json empty_sums() {
  json sums{{"total_seconds", 0.0}, {"lost_seconds", 0.0}, {"device_seconds", 0.0}, {"tokens_in", 0}, {"tokens_out", 0},
            {"trained_tokens", 0},  {"flops", 0.0},        {"joules", 0.0},         {"joules_source", ""}};
  for (const char* phase : kPhases) sums["seconds"][phase] = 0.0;
  return sums;
}

void add_row(json& sums, const json& row) {
  const auto add = [&](const char* key, double value) { sums[key] = sums[key].get<double>() + value; };
  for (const char* phase : kPhases) {
    sums["seconds"][phase] = sums["seconds"][phase].get<double>() + row.at("seconds").at(phase).get<double>();
  }
  const double seconds = total_seconds(row);
  add("total_seconds", seconds);
  add("device_seconds", seconds * row.value("devices", 1.0));
  if (row.value("lost", false)) add("lost_seconds", seconds);
  for (const char* key : {"tokens_in", "tokens_out", "trained_tokens"}) sums[key] = sums[key].get<int64_t>() + row.value(key, int64_t{0});
  add("flops", row.value("flops", 0.0));
  add("joules", row.value("joules", 0.0));
  const std::string source = row.value("joules_source", "");
  const std::string before = sums["joules_source"];
  sums["joules_source"] = before.empty() || before == source ? source : "mixed";
}

void price(json& sums, const CostConfig& cost) {
  const double hours = sums["device_seconds"].get<double>() / 3600, kwh = sums["joules"].get<double>() / 3.6e6;
  sums.erase("device_seconds");
  sums["device_hours"] = hours;
  sums["dollars"] = hours * cost.price_per_hour;
  sums["h800_hours"] = sums["flops"].get<double>() / kH800FlopsPerHour;
  sums["kwh"] = kwh;
  sums["energy_dollars"] = json::array();
  for (const double tariff : cost.tariffs) sums["energy_dollars"].push_back(kwh * tariff);
}

std::string text_of(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Three digits from a thousandth of a cent to millions.
std::string amount(double value) {
  if (value == 0) return "0";
  if (value >= 9999.5) return human_count(value);
  return text_of(value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : value >= 1 ? "%.2f" : "%.3g", value);
}

std::string line(const std::vector<std::string>& cells) {
  std::string out = "  ";
  for (size_t i = 0; i < cells.size(); ++i) {
    char text[160];
    std::snprintf(text, sizeof text, i == 0 ? "%-26s" : "%11s", cells[i].c_str());
    out += text;
  }
  return out + "\n";
}

}  // namespace

CostConfig CostConfig::parse(ConfigNode node) {
  CostConfig c;
  node.read("device", c.device);
  node.read("price_per_hour", c.price_per_hour, at_least(0.0), "It is in $ per device hour.");
  node.read("watts", c.watts, at_least(0.0), "It is used where no energy counter can be read.");
  node.read("tariffs", c.tariffs);
  for (const double tariff : c.tariffs) {
    if (!(tariff >= 0) || !std::isfinite(tariff)) node.reject("tariffs", "numbers of 0 or more", "They are in $ per kWh.");
  }
  node.reject_unknown_keys();
  return c;
}

json cost_summary(const std::filesystem::path& run_dir) {
  CostConfig cost;
  if (const auto file = run_dir / "config.yaml"; std::filesystem::exists(file)) cost = CostConfig::parse(ConfigNode::load(file).child("cost"));
  json stages = json::array(), total = empty_sums();
  int64_t sessions = 0;
  for (const auto& row : read_ledger(run_dir)) {
    sessions = std::max(sessions, row.at("session").get<int64_t>());
    json* sums = nullptr;
    for (auto& stage : stages) {
      if (stage.at("stage") == row.at("stage")) sums = &stage;
    }
    if (sums == nullptr) {
      stages.push_back(empty_sums());
      sums = &stages.back();
      (*sums)["stage"] = row.at("stage");
    }
    add_row(*sums, row);
    add_row(total, row);
  }
  for (auto& stage : stages) price(stage, cost);
  price(total, cost);
  json paper = json::array();
  for (const auto& row : kTable7) paper.push_back({{"stage", row.stage}, {"h800_hours", row.h800_hours}, {"dollars", row.dollars}});
  return {{"device", cost.device}, {"price_per_hour", cost.price_per_hour}, {"tariffs", cost.tariffs}, {"sessions", sessions},
          {"stages", stages},      {"total", total},                        {"paper", paper}};
}

json cost_tables(const json& summary) {
  const auto& total = summary.at("total");
  const std::string device = summary.at("device");
  std::vector<std::string> columns = {"stage", device + " hours", "$", "H800 hours", "tokens out", "FLOP", "kWh"};
  for (const double tariff : summary.at("tariffs")) columns.push_back(cat("$ at ", tariff));
  json rows = json::array(), paper = json::array(), stages = json::object();
  const auto add = [&](const std::string& name, const json& s) {
    std::vector<std::string> cells = {name,
                                      amount(s.at("device_hours")),
                                      amount(s.at("dollars")),
                                      amount(s.at("h800_hours")),
                                      human_count(s.at("tokens_out").get<double>()),
                                      text_of("%.2e", s.at("flops")),
                                      amount(s.at("kwh"))};
    for (const double dollars : s.at("energy_dollars")) cells.push_back(amount(dollars));
    rows.push_back(cells);
  };
  for (const auto& stage : summary.at("stages")) {
    add(stage.at("stage"), stage);
    const double dollars = stage.at("dollars");
    stages[stage.at("stage").get<std::string>()] = dollars > 0 && dollars < 0.01 ? "<$0.01" : cat("$", amount(dollars));
  }
  add("total", total);
  for (const auto& row : summary.at("paper")) {
    paper.push_back({row.at("stage"), human_count(row.at("h800_hours").get<double>()), cat("$", human_count(row.at("dollars").get<double>()))});
  }
  const std::string source = total.at("joules_source");
  const std::string energy = source == "rapl" ? "measured (RAPL)" : source == "mixed" ? "partly measured, partly assumed" : "assumed from a stated wattage";
  const auto sessions = summary.at("sessions").get<int64_t>();
  const std::vector<std::string> notes = {
      cat(device, " at $", summary.at("price_per_hour").get<double>(), " an hour; energy ", energy, "; $ at a tariff per kWh"),
      cat("H800 hours: these FLOPs at 39 % of 989 TFLOP/s; ", sessions, sessions == 1 ? " session, " : " sessions, ", human_seconds(total.at("lost_seconds")),
          " lost to kills")};
  const json ours = {{"title", "Cost"}, {"columns", columns}, {"rows", rows}, {"notes", notes}};
  const json theirs = {{"title", "DeepSeek-R1, its Table 7"}, {"columns", std::vector<std::string>{"stage", "H800 hours", "$"}}, {"rows", paper}, {"notes", json::array()}};
  return {{"tables", json::array({ours, theirs})}, {"stages", stages}};
}

std::string cost_table(const json& summary) {
  const auto tables = cost_tables(summary);  // named: a loop over a part of a temporary would outlive it
  std::string out;
  for (const auto& table : tables.at("tables")) {
    auto head = table.at("columns").get<std::vector<std::string>>();
    head[0] = table.at("title");
    out += line(head);
    for (const auto& row : table.at("rows")) out += line(row);
    for (const auto& note : table.at("notes")) out += cat("  ", note.get<std::string>(), "\n");
  }
  return out;
}

}  // namespace r1::pipeline
