#include "r1/pipeline/simulate.h"

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "simulate_text.h"

namespace r1::pipeline {
namespace {

Machine machine_of(const RunConfig& config, const std::filesystem::path& given, const SimulateOptions& options) {
  const auto& file = given.empty() ? config.plan.hardware : given;
  if (file.empty()) throw Error("--simulate: no hardware is named; accepted: --hardware FILE, or plan.hardware in the config.\n  configs/hardware/h800.yaml has what a simulation needs.");
  Machine machine{Hardware::load(file), {}};
  if (!machine.hardware.cluster) {
    throw Error(cat(file.string(), ": has no section cluster: with links and kernels; --simulate needs one.\n  configs/hardware/h800.yaml and h100.yaml have it."));
  }
  machine.cluster = *machine.hardware.cluster;
  if (options.gpus_per_node > 0) machine.cluster.gpus_per_node = options.gpus_per_node;
  if (options.ranks > machine.cluster.gpus_per_node && machine.hardware.network_bytes_per_s == 0) {
    throw Error(cat(file.string(), ": network_bytes_per_s is 0; accepted above 0 for ", options.ranks, " ranks in nodes of ", machine.cluster.gpus_per_node, "."));
  }
  return machine;
}

// What would train the stage: other factors of these ranks, or the first power of two times as many.
std::string what_would_fit(const StageInputs& in, SimulateOptions options) {
  const bool given = options.pipeline > 0 || options.expert > 0;
  options.pipeline = options.expert = 0;
  for (const int64_t ranks = options.ranks; options.ranks <= 65536; options.ranks *= 2) {
    if (!given && options.ranks == ranks) continue;
    const auto best = try_layouts(in, options).front();
    if (best.refused.empty()) return cat("ranks=", options.ranks, ",pipeline=", best.layout.pipeline, ",expert=", best.layout.expert, " would.");
  }
  return "None does with up to 65,536 ranks; smaller micro_batch_tokens or activation_checkpointing=true may help.";
}

}  // namespace

std::string simulate(const RunConfig& config, const std::filesystem::path& hardware, const SimulateOptions& options) {
  const auto machine = machine_of(config, hardware, options);
  std::string out = cat("simulate ", config.name, " on ", options.ranks, " x ", machine.hardware.name, " in nodes of ", machine.cluster.gpus_per_node, ": NVLink ",
                        machine.cluster.nvlink_bytes_per_s / 1e9, " GB/s, network ", machine.hardware.network_bytes_per_s / 1e9, " GB/s a rank\n");
  MeasuredLengths measured(config);
  for (const auto& entry : config.stages) {
    auto inputs = stage_inputs(entry, measured.of(entry), machine);
    if (!inputs) {
      out += cat("stage    ", entry.name, " (", entry.kind, "): not simulated\n");
      continue;
    }
    auto chosen = options;
    if (chosen.pipeline == 0) chosen.pipeline = entry.plan.pipeline;
    if (chosen.expert == 0) chosen.expert = entry.plan.expert;
    const auto settled = try_layouts(*inputs, chosen);
    if (!settled.front().refused.empty()) {
      throw Error(cat("stage '", entry.name, "': no such layout of ", options.ranks, " ranks can train it:\n  ", join(refusals_of(settled, 8), "\n  "), "\n  ", what_would_fit(*inputs, chosen)));
    }
    inputs->layout = settled.front().layout;
    if (inputs->rl) inputs->sampler = fewest_for_sampling(*inputs, options);
    const auto result = simulate_stage(*inputs);
    // Beside a layout that was published, what would be fastest.
    const bool given = entry.plan.pipeline > 0 || entry.plan.expert > 0;
    out += stage_text(entry, *inputs, *result, given && options.pipeline == 0 && options.expert == 0 ? try_layouts(*inputs, options) : settled);
  }
  return out + "Not reckoned: failures, restarts, checkpoints, evaluations, uneven experts, waiting for data. Every figure's source is in the hardware, model\n"
               "and config files; the formulas are in docs/scale.md.\n";
}

}  // namespace r1::pipeline
