#include "r1/pipeline/plan.h"

#include <algorithm>

#include "plan_memory.h"
#include "plan_published.h"
#include "plan_time.h"
#include "r1/ops/devices.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::string model_line(const StageEntry& stage, const Hardware& hardware) {
  const auto shape = shape_of(stage);
  const auto parameters = human_count(shape.total_parameters);
  // Of the embedding a token meets one row, which the published counts leave out.
  const double embedding = shape.tie_embeddings ? 0 : static_cast<double>(shape.vocab_size * shape.hidden_size);
  const auto active = cat(shape.active_parameters < shape.total_parameters ? cat(", ", human_count(shape.active_parameters - embedding), " active") : "",
                          shape.mtp_parameters > 0 ? cat(", and ", human_count(shape.mtp_parameters), " of its module for multi-token prediction") : "");
  if (stage.model.shape) {
    return cat(shape.name, ", ", parameters, " parameters", active, " (", shape.num_layers, " layers, width ", shape.hidden_size, ", vocabulary ", shape.vocab_size, "): counts of a plan, no weights are read");
  }
  const auto& m = stage.model.config;
  return cat(m.architecture, ", ", parameters, " parameters", active, " (", m.num_layers, " layers, width ", m.hidden_size, ", ", m.num_heads, "/", m.num_kv_heads,
             " heads, vocabulary ", m.vocab_size, hardware.weight_bytes < 4 ? "), bf16" : "), float32", stage.model.path.empty() ? ", new weights" : ", from " + stage.model.path.string());
}

double sum_of(const MemoryItems& items) {
  double total = 0;
  for (const auto& [name, bytes] : items) total += bytes;
  return total;
}

// The first change that makes a stage fit, of those that change no result, then of those that change the batch.
std::string what_would_fit(const StageEntry& entry, const Lengths& lengths, const Plan& plan) {
  const auto fits = [&](const StageEntry& changed, int64_t devices, int64_t replica) {
    return sum_of(stage_memory(changed, lengths, plan.hardware, devices, replica)) <= plan.device_bytes;
  };
  const auto update_of = [](StageEntry& e) -> train::UpdateConfig* {
    if (auto* text = std::get_if<TextStageEntry>(&e.config)) return &text->config.update;
    if (auto* grpo = std::get_if<train::GrpoStageConfig>(&e.config)) return &grpo->update;
    if (auto* reward = std::get_if<RewardModelEntry>(&e.config)) return &reward->config.update;
    return nullptr;
  };
  const auto engine_of = [](StageEntry& e) -> rollout::EngineConfig* {
    if (auto* grpo = std::get_if<train::GrpoStageConfig>(&e.config)) return &grpo->engine;
    if (auto* rejection = std::get_if<train::RejectionConfig>(&e.config)) return &rejection->engine;
    if (auto* eval = std::get_if<EvalEntry>(&e.config)) return &eval->engine;
    return nullptr;
  };
  auto changed = entry;
  std::vector<std::string> changes;
  if (auto* engine = engine_of(changed); engine != nullptr) {
    while (engine->max_batch > 1 && !fits(changed, plan.devices, plan.devices_per_replica)) engine->max_batch /= 2;
    if (fits(changed, plan.devices, plan.devices_per_replica)) return cat("rollout.max_batch=", engine->max_batch);
    changes.push_back(cat("rollout.max_batch=", engine->max_batch));
  }
  if (auto* update = update_of(changed); update != nullptr) {
    update->activation_checkpointing = true;
    changes.push_back("activation_checkpointing=true");
    if (fits(changed, plan.devices, plan.devices_per_replica)) return join(changes, " and ");
    while (update->micro_batch_tokens > 16 && !fits(changed, plan.devices, plan.devices_per_replica)) update->micro_batch_tokens /= 2;
    changes.push_back(cat("micro_batch_tokens=", update->micro_batch_tokens));
    if (fits(changed, plan.devices, plan.devices_per_replica)) return join(changes, " and ");
  }
  for (int64_t devices = plan.devices * 2; devices <= (1 << 20); devices *= 2) {
    if (fits(changed, devices, devices)) return cat(join(changes, ", "), changes.empty() ? "" : " and ", "plan.devices=", devices);
  }
  return "a smaller model or a device with more memory";
}

// The fewest devices, a power of two, on which every stage fits; all of them when none does.
int64_t fewest_per_replica(const RunConfig& config, const std::vector<Lengths>& lengths, const Plan& plan) {
  for (int64_t replica = 1; replica < plan.devices; replica *= 2) {
    if (plan.devices % replica != 0) break;
    bool fits = true;
    for (size_t i = 0; i < config.stages.size(); ++i) {
      fits = fits && sum_of(stage_memory(config.stages[i], lengths[i], plan.hardware, plan.devices, replica)) <= plan.device_bytes;
    }
    if (fits) return replica;
  }
  return plan.devices;
}

}  // namespace

double StagePlan::memory_bytes() const { return sum_of(memory); }

Plan make_plan(const RunConfig& config, const std::filesystem::path& hardware) {
  Plan plan;
  const auto& file = hardware.empty() ? config.plan.hardware : hardware;
  if (!file.empty()) {
    plan.hardware = Hardware::load(file);
  } else if (config.device != DeviceChoice::kCpu) {
    const auto gpus = ops::gpus();
    if (!gpus.empty()) {
      plan.hardware = Hardware::of_gpu(gpus[0].name, static_cast<double>(gpus[0].memory_bytes));
    } else if (config.device == DeviceChoice::kCuda) {
      plan.hardware = Hardware::of_gpu("GPU of 80 GB", 80e9);  // planned elsewhere
    }
  }
  plan.devices = config.plan.devices;
  plan.tariffs = config.cost.tariffs;
  plan.device_bytes = plan.hardware.memory_bytes > 0 ? plan.hardware.memory_bytes : machine_memory_bytes();
  plan.heading = cat(config.name, " -> ", config.run_dir.string());
  MeasuredLengths measured(config);
  std::vector<Lengths> lengths;
  for (const auto& entry : config.stages) lengths.push_back(measured.of(entry));
  plan.devices_per_replica = config.plan.devices_per_replica > 0 ? config.plan.devices_per_replica : fewest_per_replica(config, lengths, plan);
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const auto& entry = config.stages[i];
    StagePlan stage;
    stage.name = entry.name;
    if (entry.from.empty()) stage.model = model_line(entry, plan.hardware);
    stage.from = entry.from;
    stage.kind = entry.kind;
    stage.assumptions = lengths[i].notes;
    stage.published_hours = entry.plan.published_hours;
    stage.memory = stage_memory(entry, lengths[i], plan.hardware, plan.devices, plan.devices_per_replica);
    plan_time(entry, lengths[i], plan.hardware, plan.devices, plan.devices_per_replica, stage);
    if (stage.published_hours > 0) stage.would_hold = explain_published(entry, lengths[i], plan, stage.published_hours);
    if (stage.memory_bytes() > plan.device_bytes) {
      plan.does_not_fit.push_back(cat("stage '", entry.name, "' needs ", human_bytes(stage.memory_bytes()), " on a device that has ",
                                      human_bytes(plan.device_bytes), "; it would fit with ", what_would_fit(entry, lengths[i], plan)));
    }
    plan.stages.push_back(std::move(stage));
  }
  return plan;
}

}  // namespace r1::pipeline
