#include <cstdio>

#include "r1/pipeline/plan.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

std::string hours_text(double hours) {
  char text[32];
  if (hours < 1) return human_seconds(hours * 3600);
  if (hours >= 9999.5) return human_count(hours) + " h";
  std::snprintf(text, sizeof text, hours < 100 ? "%.1f h" : "%.0f h", hours);
  return text;
}

std::string amount(double value) {
  char text[32];
  if (value >= 9999.5) return human_count(value);
  std::snprintf(text, sizeof text, value == 0 ? "%.0f" : value < 0.1 ? "%.2g" : value < 100 ? "%.2f" : "%.0f", value);
  return text;
}

std::string memory_line(const StagePlan& stage, const Plan& plan) {
  std::vector<std::string> parts;
  for (const auto& [name, bytes] : stage.memory) parts.push_back(cat(name, " ", human_bytes(bytes)));
  return cat("  memory  ", join(parts, ", "), "; together ", human_bytes(stage.memory_bytes()), plan.devices > 1 ? " on each device" : "", " of ",
             human_bytes(plan.device_bytes), "\n");
}

std::string batches_and_memory(const Plan& plan) {
  std::string out = cat("run      ", plan.heading, "\n");
  for (const auto& stage : plan.stages) {
    if (!stage.model.empty()) out += cat("model    ", stage.model, "\n");
    out += cat("stage    ", stage.name, " (", stage.kind, ")", stage.from.empty() ? "" : ", from " + stage.from, "\n");
    for (size_t i = 0; i < stage.batch.size(); ++i) out += cat(i == 0 ? "  batch   " : "          ", stage.batch[i], "\n");
    out += memory_line(stage, plan);
  }
  for (const auto& line : plan.does_not_fit) out += cat("does not fit: ", line, "\n");
  return out;
}

std::string cost_line(const std::string& name, double hours, double published, const Plan& plan) {
  const double kwh = hours * plan.hardware.watts / 1000;
  char text[256];
  std::snprintf(text, sizeof text, "  %-22s %12s %10s %10s", name.c_str(), hours_text(hours).c_str(), amount(hours * plan.hardware.price_per_hour).c_str(),
                amount(kwh).c_str());
  std::string out = text;
  for (const double tariff : plan.tariffs) {
    std::snprintf(text, sizeof text, " %12s", amount(kwh * tariff).c_str());
    out += text;
  }
  if (published > 0) out += cat("   ", hours_text(published));
  return out + "\n";
}

std::string cost_lines(const Plan& plan) {
  char text[256];
  std::snprintf(text, sizeof text, "  %-22s %12s %10s %10s", "cost", (plan.hardware.name + " time").c_str(), "$", "kWh");
  std::string out = text;
  for (const double tariff : plan.tariffs) {
    std::snprintf(text, sizeof text, " %12s", cat("$ at ", tariff).c_str());
    out += text;
  }
  double total = 0, published = 0;
  bool all_published = !plan.stages.empty();
  for (const auto& stage : plan.stages) {
    published += stage.published_hours;
    all_published = all_published && stage.published_hours > 0;
  }
  out += published > 0 ? "   published\n" : "\n";
  for (const auto& stage : plan.stages) {
    out += cost_line(stage.name, plan.device_hours(stage), stage.published_hours, plan);
    total += plan.device_hours(stage);
  }
  return out + cost_line("total", total, all_published ? published : 0, plan);
}

std::string published_lines(const Plan& plan) {
  std::string out;
  for (const auto& stage : plan.stages) {
    if (stage.published_hours == 0) continue;
    char share[32];
    std::snprintf(share, sizeof share, "%.0f %%", 100 * plan.device_hours(stage) / stage.published_hours);
    out += cat("\n", stage.name, ": the plan gives ", share, " of the published ", hours_text(stage.published_hours), ". It would give all of them with one of these:\n");
    for (const auto& line : stage.would_hold) out += cat("  - ", line, "\n");
  }
  return out;
}

std::string assumption_lines(const Plan& plan) {
  const auto& h = plan.hardware;
  std::string out = cat("\nassumed of ", h.name, ":\n  - ", human_count(h.flops), "FLOP/s, of which training reaches ", 100 * h.train_utilisation, " % and forward passes ",
                        100 * h.forward_utilisation, " %; ", human_bytes(h.bytes_per_s), "/s of memory, of which decoding reaches ", 100 * h.bandwidth_utilisation,
                        " %\n  - a decoding step takes ", 1e6 * h.decode_layer_s, " us per layer");
  if (h.exchange_s > 0) out += cat(" and ", 1e6 * h.exchange_s, " us per expert layer");
  out += cat(", whatever the batch; rollouts and updates take turns on all devices\n  - ", h.watts, " W and $", h.price_per_hour,
             " an hour for a device; $ per kWh as named; no idle time, failures or evaluation beyond the config's\n  - bytes of a number: weights ", h.weight_bytes,
             h.master_bytes > 0 ? cat(" (and ", h.master_bytes, " of a master copy)") : "", ", gradients ", h.gradient_bytes, ", AdamW ", h.moment_bytes, ", activations ",
             h.activation_bytes, ", KV cache ", h.cache_bytes, "\n");
  for (const auto& stage : plan.stages) {
    out += cat("assumed of ", stage.name, ":\n");
    for (const auto& line : stage.assumptions) out += cat("  - ", line, "\n");
  }
  return out + "Every figure's source is in the hardware, model and config files; the formulas are in docs/plan.md.\n";
}

}  // namespace

std::string describe_plan(const RunConfig& config) { return batches_and_memory(make_plan(config)); }

std::string long_text(const Plan& plan) {
  std::string out = batches_and_memory(plan);
  out += cat("hardware ", plan.devices, " x ", plan.hardware.name, plan.devices > 1 ? cat(", ", plan.devices_per_replica, " share one copy of the weights") : "", "\n");
  for (const auto& stage : plan.stages) {
    const double hours = stage.seconds() / 3600;
    char flops[32];
    std::snprintf(flops, sizeof flops, "%.3g", stage.flops);
    out += cat("time     ", stage.name, ": ", hours_text(hours), " (rollouts ", hours_text(stage.rollout_s / 3600), ", reference ", hours_text(stage.reference_s / 3600),
               ", updates ", hours_text(stage.update_s / 3600), "); ", human_count(stage.sampled_tokens), " tokens sampled, ", human_count(stage.trained_tokens),
               " trained, ", flops, " FLOP\n");
  }
  return out + "\n" + cost_lines(plan) + published_lines(plan) + assumption_lines(plan);
}

}  // namespace r1::pipeline
