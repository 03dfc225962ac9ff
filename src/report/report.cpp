#include "r1/report/report.h"

#include "page.h"
#include "page_data.h"
#include "r1/report/text_signs.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/strings.h"
#include "terminal_table.h"

namespace r1::report {
namespace fs = std::filesystem;
namespace {

constexpr size_t kPointsPerCurve = 1000;
constexpr size_t kPointBudget = 120'000;  // of all curves of all runs: about 15 bytes each
constexpr size_t kSampleBytes = 2'000'000;

fs::path default_name(const std::vector<fs::path>& run_dirs) {
  if (run_dirs.size() == 1) return run_dirs[0] / "report.html";
  return run_dirs[0] /
         cat("report_vs_", fs::absolute(run_dirs[1]).lexically_normal().filename().string(), ".html");
}

std::string page_of(const std::vector<RunContents>& runs, const nlohmann::json& costs, size_t point_budget) {
  std::vector<size_t> lengths;
  for (const auto& run : runs) {
    const auto own = curve_lengths(run);
    lengths.insert(lengths.end(), own.begin(), own.end());
  }
  const size_t max_points = fair_points(lengths, kPointsPerCurve, point_budget);
  nlohmann::ordered_json data{{"paper_words", paper_reflective_words()},
                              {"more_words", more_reflective_words()},
                              {"max_points", max_points},
                              {"runs", nlohmann::ordered_json::array()}};
  std::string title;
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto cost = costs.is_array() && i < costs.size() ? costs[i] : nlohmann::json();
    data["runs"].push_back(run_json(runs[i], max_points, cost));
    title += (i == 0 ? "" : " and ") + runs[i].run.name;
  }
  return make_page(title, data);
}

// Drops every other group: the rest is still spread over the steps.
bool halve_samples(std::vector<RunContents>& runs) {
  bool dropped = false;
  for (auto& run : runs) {
    for (auto& stage : run.samples) {
      std::vector<nlohmann::json> kept;
      for (size_t i = 0; i < stage.groups.size(); i += 2) kept.push_back(std::move(stage.groups[i]));
      if (stage.groups.size() == 1) kept.clear();
      dropped |= kept.size() < stage.groups.size();
      stage.groups = std::move(kept);
    }
  }
  return dropped;
}

}  // namespace

WrittenReport write_report(const std::vector<fs::path>& run_dirs, const nlohmann::json& costs,
                           const fs::path& out) {
  if (run_dirs.empty() || run_dirs.size() > 2)
    throw Error(cat("a report of ", run_dirs.size(), " runs; accepted: 1 or 2"));
  WrittenReport written;
  std::vector<RunContents> runs;
  for (const auto& dir : run_dirs) {
    RunContents contents;
    contents.run = read_run(dir);
    SampleLimits limits;
    limits.total_bytes = kSampleBytes / run_dirs.size();
    contents.samples = read_samples(contents.run, limits);
    contents.alarms = find_alarms(contents.run, contents.samples);
    written.table += terminal_table(contents);
    runs.push_back(std::move(contents));
  }
  size_t points = kPointBudget;
  auto page = page_of(runs, costs, points);
  // Texts full of escapes, or thousands of curves: rare, so the page is simply made again with less.
  while (page.size() > kMaxPageBytes && (halve_samples(runs) || points > 1000)) {
    points /= 2;
    page = page_of(runs, costs, points);
  }
  written.html = out.empty() ? default_name(run_dirs) : out;
  written.bytes = page.size();
  if (page.size() > kMaxPageBytes) {
    throw Error(cat(written.html.string(), ": the page would have ",
                    human_bytes(static_cast<double>(page.size())),
                    "; accepted: ", human_bytes(static_cast<double>(kMaxPageBytes)),
                    ". The run has too many stages or figures for one page."));
  }
  write_file_atomic(written.html, page);
  return written;
}

}  // namespace r1::report
