#include "doctor_ranks.h"

#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "r1/util/file.h"
#include "r1/util/progress.h"
#include "r1/util/strings.h"
#include "version.h"

namespace r1::apps {
namespace {

constexpr double kSkew_s = 1.0;  // above it log files of ranks cannot be read side by side

std::string host_name() {
  char name[256] = "";
  ::gethostname(name, sizeof name - 1);
  return name;
}

double system_clock_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string rounded(double value, double step) { return cat(std::round(value / step) * step); }

std::vector<RankReport> gather_reports(dist::Communicator& ranks, const std::string& written, const std::filesystem::path& file) {
  RankReport own{host_name(), version_line(), {}, 0, 0};
  if (std::filesystem::exists(file)) own.folder_seen = read_file(file);
  std::error_code error;
  own.free_bytes = static_cast<double>(std::filesystem::space(".", error).available);
  ranks.barrier("clocks");
  own.clock_s = system_clock_s();
  const nlohmann::json said{own.host, own.version, own.folder_seen, own.clock_s, own.free_bytes};
  std::vector<RankReport> reports;
  for (const auto& text : ranks.all_gather_bytes(said.dump(), "reports")) {
    const auto json = nlohmann::json::parse(text);
    reports.push_back({json[0], json[1], json[2], json[3], json[4]});
  }
  return reports;
}

// Seconds of one call of `work`, of several. The barriers wait for a GPU, which wait() of a collective does not.
double seconds_of(dist::Communicator& ranks, int times, const std::function<void()>& work) {
  work();
  ranks.barrier("links");
  const double start_s = monotonic_s();
  for (int i = 0; i < times; ++i) work();
  ranks.barrier("links");
  return (monotonic_s() - start_s) / times;
}

RankFinding measure_links(dist::Communicator& ranks) {
  const auto options = at::TensorOptions(ranks.device()).dtype(at::kFloat);
  const auto number = at::zeros({1}, options);
  const double latency_s = seconds_of(ranks, 200, [&] { ranks.all_reduce(number, dist::Reduce::kSum, "latency").wait(); });
  const auto many = at::zeros({4 << 20}, options);
  const double s = seconds_of(ranks, 5, [&] { ranks.all_reduce(many, dist::Reduce::kSum, "bandwidth").wait(); });
  const double n = ranks.size(), bus = static_cast<double>(many.nbytes()) * 2 * (n - 1) / n / s;
  return {"links", cat("all_reduce of one number ", rounded(latency_s * 1e6, 0.1), " us, of 16 MiB ", rounded(bus / 1e9, 0.01),
                       " GB/s bus bandwidth (2 (n - 1) / n x bytes / seconds)")};
}

}  // namespace

std::vector<RankFinding> judge_ranks(const std::vector<RankReport>& reports, const std::string& written, const std::string& folder) {
  std::vector<RankFinding> findings;
  std::map<std::string, int> hosts, versions;
  double first_s = reports[0].clock_s, last_s = first_s, least_bytes = reports[0].free_bytes;
  std::vector<std::string> blind, other;
  for (size_t r = 0; r < reports.size(); ++r) {
    const auto& report = reports[r];
    ++hosts[report.host];
    ++versions[report.version];
    first_s = std::min(first_s, report.clock_s);
    last_s = std::max(last_s, report.clock_s);
    least_bytes = std::min(least_bytes, report.free_bytes);
    if (report.folder_seen != written) blind.push_back(cat(r, " on ", report.host));
    if (report.version != reports[0].version) other.push_back(cat(r, " on ", report.host, ": ", report.version));
  }
  std::vector<std::string> nodes;
  for (const auto& [host, count] : hosts) nodes.push_back(cat(host, " (", count, ")"));
  findings.push_back({"ranks", cat(reports.size(), " on ", hosts.size(), hosts.size() == 1 ? " machine: " : " machines: ", join(nodes, ", "))});
  findings.push_back({"versions", other.empty() ? cat("all ranks run ", reports[0].version)
                                                : cat("FAILED: rank 0 runs ", reports[0].version, "; rank ", join(other, "; rank "),
                                                      ". Install the same r1 everywhere"),
                      other.empty()});
  findings.push_back({"shared folder", blind.empty() ? cat("all ranks see what the first one writes in ", folder)
                                                     : cat("FAILED: rank ", join(blind, ", rank "), " does not see what the first one writes in ", folder,
                                                           ". Checkpoints need a file system that all share"),
                      blind.empty()});
  findings.push_back({"free space", cat(human_bytes(least_bytes), " in that folder, the least of all ranks")});
  const bool alike = last_s - first_s <= kSkew_s;
  findings.push_back({"clocks", cat(alike ? "" : "FAILED: ", "within ", rounded(last_s - first_s, 0.001), " s of each other behind a barrier",
                                    alike ? "" : "; logs of ranks will not fit together. Set them by NTP"),
                      alike});
  return findings;
}

std::vector<RankFinding> examine_ranks(dist::Communicator& ranks) {
  const std::filesystem::path file = ".r1_doctor_ranks";
  const auto written = ranks.broadcast_bytes(cat(::getpid(), " ", system_clock_s()), 0, "mark");
  ranks.together("the shared folder", [&] {
    if (ranks.is_first()) write_file_atomic(file, written);
  });
  const auto reports = gather_reports(ranks, written, file);
  ranks.together("the shared folder", [&] {
    if (ranks.is_first()) std::filesystem::remove(file);
  });
  auto findings = judge_ranks(reports, written, std::filesystem::current_path().string());
  findings.push_back(measure_links(ranks));
  return findings;
}

}  // namespace r1::apps
