#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace r1::pipeline {

/// Joules of this machine. From RAPL's counters (packages and their memory) where they can be read, which most systems
/// allow to root alone; otherwise seconds times a stated wattage. RAPL counts all that runs on the machine.
class EnergyMeter {
 public:
  explicit EnergyMeter(double watts, const std::filesystem::path& powercap = "/sys/class/powercap");
  /// Measured: since construction. Assumed: of `seconds`. Counters wrap after minutes to hours of full load: call it at
  /// least once a minute.
  double joules(double seconds);
  const char* source() const { return counters_.empty() ? "assumed" : "rapl"; }

 private:
  struct Counter {
    std::filesystem::path file;
    uint64_t last_uj, range_uj;
  };
  double watts_;
  std::vector<Counter> counters_;
  double total_uj_ = 0;
};

}  // namespace r1::pipeline
