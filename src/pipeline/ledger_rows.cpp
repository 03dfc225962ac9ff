#include "ledger_rows.h"

#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"

namespace r1::pipeline {

nlohmann::json ledger_row(const LedgerRow& r) {
  nlohmann::json row{{"time", r.time},
                     {"session", r.session},
                     {"stage", r.stage},
                     {"step", r.step},
                     {"seconds", r.seconds},
                     {"devices", 1},
                     {"tokens_in", r.tokens_in},
                     {"tokens_out", r.tokens_out},
                     {"trained_tokens", r.trained_tokens},
                     {"flops", r.flops},
                     {"joules", r.joules},
                     {"joules_source", r.joules_source}};
  if (r.lost) row["lost"] = true;
  return row;
}

double total_seconds(const nlohmann::json& row) {
  double total = 0;
  for (const char* phase : kPhases) total += row.at("seconds").at(phase).get<double>();
  return total;
}

std::vector<nlohmann::json> read_ledger(const std::filesystem::path& run_dir) {
  const auto file = run_dir / "ledger.jsonl";
  std::vector<nlohmann::json> rows;
  if (!std::filesystem::exists(file)) return rows;
  const auto text = read_file(file);
  int64_t number = 0;
  for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    ++number;
    auto row = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!row.is_object() || !row.contains("stage") || !row.contains("session") || !row.contains("seconds") || !row.contains("joules")) {
      throw Error(cat(file.string(), ":", number, ": no row of a ledger; accepted: a JSON object with session, stage, seconds, joules.\n  "
                      "Remove the line: what it held is then missing from the costs."));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace r1::pipeline
