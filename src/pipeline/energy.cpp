#include "r1/pipeline/energy.h"

#include <fstream>
#include <optional>
#include <string>

namespace r1::pipeline {
namespace {

std::optional<uint64_t> number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  uint64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

// Zones are intel-rapl:<package> and intel-rapl:<package>:<part>, also on AMD; "psys" holds the packages once more, and
// "core" and "uncore" are parts of a package, while "dram" is not.
bool counts(const std::filesystem::path& zone) {
  std::string name;
  std::ifstream(zone / "name") >> name;
  return name.starts_with("package") || name == "dram";
}

}  // namespace

EnergyMeter::EnergyMeter(double watts, const std::filesystem::path& powercap) : watts_(watts) {
  std::error_code error;
  for (std::filesystem::directory_iterator zone(powercap, error), end; !error && zone != end; zone.increment(error)) {
    if (!zone->path().filename().string().starts_with("intel-rapl:") || !counts(zone->path())) continue;
    const auto file = zone->path() / "energy_uj";
    const auto now_uj = number_in(file), range_uj = number_in(zone->path() / "max_energy_range_uj");
    if (now_uj && range_uj) counters_.push_back({file, *now_uj, *range_uj});
  }
}

double EnergyMeter::joules(double seconds) {
  if (counters_.empty()) return watts_ * seconds;
  for (auto& counter : counters_) {
    const auto now_uj = number_in(counter.file);
    if (!now_uj) continue;
    const double step = static_cast<double>(*now_uj) - static_cast<double>(counter.last_uj);
    total_uj_ += step >= 0 ? step : step + static_cast<double>(counter.range_uj);
    counter.last_uj = *now_uj;
  }
  return total_uj_ * 1e-6;
}

}  // namespace r1::pipeline
