#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "r1/pipeline/hardware.h"
#include "r1/pipeline/run_config.h"

namespace r1::pipeline {

/// Bytes on one device by category, in the order of printing.
using MemoryItems = std::vector<std::pair<std::string, double>>;

/// What a stage will take; formulas in docs/plan.md.
struct StagePlan {
  std::string name, kind, from;
  std::string model;                     ///< what it begins with, when that is no other stage
  std::vector<std::string> batch;        ///< lines of batch arithmetic
  MemoryItems memory;                    ///< of one device
  double sampled_tokens = 0, trained_tokens = 0;
  double flops = 0;
  double rollout_s = 0, reference_s = 0, update_s = 0;
  double decode_step_s = 0;              ///< one token of the longest completion
  double published_hours = 0;            ///< device hours that somebody published for it, to compare with; 0: none
  std::vector<std::string> would_hold;   ///< which value of one assumption, the others kept, gives the published hours
  std::vector<std::string> assumptions;

  double memory_bytes() const;
  double seconds() const { return rollout_s + reference_s + update_s; }
};

struct Plan {
  Hardware hardware;
  double device_bytes = 0;               ///< memory of a device
  int64_t devices = 1, devices_per_replica = 1;
  std::vector<double> tariffs;           ///< $ per kWh
  std::string heading;
  std::vector<StagePlan> stages;
  std::vector<std::string> does_not_fit;  ///< per stage that needs more memory than a device has: what would fit

  double device_hours(const StagePlan& stage) const { return stage.seconds() * static_cast<double>(devices) / 3600; }
};

/// Memory, time and cost of every stage before anything is allocated. `hardware`: a file of configs/hardware/, by default
/// the config's `plan.hardware`, or else the CPU's figures.
Plan make_plan(const RunConfig& config, const std::filesystem::path& hardware = {});

/// What `r1 run` prints before step 1: batches and memory.
std::string describe_plan(const RunConfig& config);
/// What `r1 plan` prints: that, time and cost by stage, published figures beside them, and every assumption.
std::string long_text(const Plan& plan);

}  // namespace r1::pipeline
