#include "simulate_training.h"

#include <algorithm>
#include <cmath>

namespace r1::pipeline {
namespace {

// The trunk's layers in order, then the MTP module and the heads, which lie on the last stage.
std::vector<ChunkTime> units_of(const Machine& machine, const ModelParts& m, const Layout& layout, const StepWork& work, const MicroBatch& batch) {
  std::vector<ChunkTime> units;
  const auto layer = [&](LayerKind kind) { return layer_time(machine, m, kind, batch, layout.experts(), work.checkpointing); };
  units.insert(units.end(), static_cast<size_t>(m.dense_layers), layer(LayerKind::kDense));
  if (m.expert_layers > 0) units.insert(units.end(), static_cast<size_t>(m.expert_layers), layer(LayerKind::kExperts));
  const bool mtp = work.mtp && m.mtp_layers > 0;
  if (mtp) {
    auto unit = layer(m.config.has_experts(m.config.num_layers) ? LayerKind::kExperts : LayerKind::kDense);
    const double projection = 2 * batch.tokens * m.mtp_projection / machine.projection_flops();
    unit.forward += projection;
    unit.backward += projection / machine.cluster.backward_share;
    unit.weight += projection / machine.cluster.backward_share;
    units.push_back(unit);
  }
  units.push_back(head_time(machine, m, batch.tokens) * (mtp ? 2 : 1));
  return units;
}

// Gradients and weights of what one rank holds.
struct Held {
  double replicated = 0, routed = 0;  // parameters
};

LinkBytes scatter(const Layout& l, const Held& held, double bytes, double copies) {
  const auto data = static_cast<double>(l.data()) * copies, expert = static_cast<double>(l.expert), node = static_cast<double>(l.gpus_per_node);
  auto out = scatter_bytes(held.replicated * bytes, data, node);
  out += scatter_bytes(held.routed * bytes, data / expert, std::max(1.0, node / expert));
  return out;
}

}  // namespace

double TrainingStep::memory_bytes() const {
  double sum = 0;
  for (const auto& [name, bytes] : memory) sum += bytes;
  return sum;
}

TrainingStep training_step(const Machine& machine, const ModelParts& m, const Layout& layout, const StepWork& work, double micro_tokens) {
  const auto& h = machine.hardware;
  TrainingStep step;
  step.layout = layout;
  const double here = std::max(work.tokens / static_cast<double>(layout.data()), work.longest_tokens);
  step.micro_batches = std::max<int64_t>(1, std::llround(std::ceil(here / micro_tokens - 1e-9)));
  const auto at = [&](int64_t micro_batches, bool hidden) {
    const MicroBatch batch{here / static_cast<double>(micro_batches), here / static_cast<double>(micro_batches) * work.pairs / work.tokens};
    return std::pair{batch, cut_into_stages(units_of(machine, m, layout, work, batch), layout.pipeline, hidden)};
  };
  const double send_bytes_per_token = static_cast<double>(m.config.hidden_size) * h.activation_bytes;
  const auto send_s = [&](const MicroBatch& batch) {
    return layout.pipeline == 1 ? 0 : machine.seconds({0, batch.tokens * send_bytes_per_token});
  };
  bool dual = false;
  {
    const auto [batch, stages] = at(step.micro_batches, layout.pipeline == 1);
    step.pipeline = run_pipeline(machine, stages, step.micro_batches, send_s(batch), false);
    step.micro_batch_tokens = batch.tokens;
  }
  if (const int64_t even = step.micro_batches + step.micro_batches % 2; work.dual && can_run_dual(layout.pipeline, even)) {
    const auto [batch, stages] = at(even, true);
    const auto other = run_pipeline(machine, stages, even, send_s(batch), true);
    if (other.seconds <= step.pipeline.seconds) {
      dual = true;
      step.pipeline = other;
      step.micro_batches = even;
      step.micro_batch_tokens = batch.tokens;
    }
  }
  const double stages = static_cast<double>(layout.pipeline), copies = dual ? 2 : 1;
  const Held held{copies * m.replicated_parameters() / stages, copies * m.routed_parameters() / (stages * static_cast<double>(layout.expert))};
  step.reduce = scatter(layout, held, h.gradient_bytes, copies);
  step.gather = scatter(layout, held, h.weight_bytes, copies);
  step.reduce_s = machine.seconds(step.reduce);
  step.gather_s = machine.seconds(step.gather);
  step.optimizer_s = (m.replicated_parameters() + m.routed_parameters()) / static_cast<double>(layout.ranks) *
                     (2 * (h.master_bytes + h.moment_bytes) + h.gradient_bytes) / machine.memory_bytes_per_s();
  ChunkTime all;
  for (const auto& unit : units_of(machine, m, layout, work, {here, here * work.pairs / work.tokens})) all += unit;
  step.exchange = all.bytes * (1 / stages);
  if (layout.pipeline > 1) step.sends = {0, 2 * here * send_bytes_per_token * (stages - 1) / stages};
  const int64_t in_flight = dual ? layout.pipeline + 1 : std::min(step.micro_batches, std::max<int64_t>(2, layout.pipeline));
  step.memory = training_memory(machine, m, layout, step.micro_batch_tokens, in_flight, dual, work.checkpointing);
  return step;
}

std::optional<TrainingStep> best_step(const Machine& machine, const ModelParts& m, const Layout& layout, const StepWork& work, double* smallest) {
  std::optional<TrainingStep> best;
  const double limit = std::max(work.mean_tokens, work.micro_batch_tokens);
  for (double tokens = work.mean_tokens; tokens <= limit * (1 + 1e-9); tokens *= 2) {
    auto step = training_step(machine, m, layout, work, tokens);
    if (smallest != nullptr && (tokens == work.mean_tokens || step.memory_bytes() < *smallest)) *smallest = step.memory_bytes();
    if (step.memory_bytes() > machine.hardware.memory_bytes) continue;
    if (!best || step.seconds() < best->seconds()) best = std::move(step);
  }
  return best;
}

}  // namespace r1::pipeline
