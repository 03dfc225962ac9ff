#include "simulate_chunk.h"

#include <algorithm>

namespace r1::pipeline {
namespace {

constexpr double kBackwardAttention = 2.5;

// Bytes that kernels other than products read and write per token of one layer. `a` is what a number has in memory, `d` what
// it has as a product's input.
double passes_per_token(const Machine& machine, const ModelParts& m, LayerKind kind) {
  const auto& c = m.config;
  const double a = machine.hardware.activation_bytes, d = machine.dispatch_bytes();
  const auto C = static_cast<double>(c.hidden_size), H = static_cast<double>(c.num_heads);
  double bytes = 2 * (a + d) * C + 2 * 3 * a * C;  // two norms, two residual sums
  if (c.has_latent_attention()) {
    const auto rope = static_cast<double>(c.qk_rope_head_dim), nope = static_cast<double>(c.qk_nope_head_dim);
    bytes += (a + d) * static_cast<double>(c.q_lora_rank + c.kv_lora_rank) + 2 * a * H * rope + a * H * (nope + nope + rope);
  } else {
    bytes += 2 * a * (H + static_cast<double>(c.num_kv_heads)) * static_cast<double>(c.head_dim);
  }
  if (machine.fp8()) bytes += (a + d) * H * static_cast<double>(c.value_dim());  // the attention's output becomes FP8
  if (kind == LayerKind::kDense) return bytes + (2 * a + d) * static_cast<double>(c.intermediate_size);
  const auto F = static_cast<double>(c.moe_intermediate_size);
  // Each copy of a token is put in its expert's order, goes through SwiGLU, and is summed with the others of its rank.
  return bytes + m.experts_per_token * (2 * d * C + (2 * a + d) * F + 2 * a * C) + (2 * a + d) * static_cast<double>(c.n_shared_experts) * F;
}

}  // namespace

ChunkTime& ChunkTime::operator+=(const ChunkTime& o) {
  forward += o.forward;
  backward += o.backward;
  weight += o.weight;
  exchange_forward += o.exchange_forward;
  exchange_backward += o.exchange_backward;
  bytes += o.bytes;
  return *this;
}

ChunkTime ChunkTime::operator*(double t) const {
  return {forward * t, backward * t, weight * t, exchange_forward * t, exchange_backward * t, bytes * t};
}

ChunkTime layer_time(const Machine& machine, const ModelParts& m, LayerKind kind, const MicroBatch& batch, const ExpertLayout& layout, bool checkpointing) {
  const auto& c = machine.cluster;
  const double N = batch.tokens;
  const bool experts = kind == LayerKind::kExperts;
  const double mlp = experts ? m.shared + m.experts_per_token * m.expert : m.dense_mlp;
  const double products = 2 * N * (m.attention / machine.projection_flops() + mlp / machine.expert_flops()) + (experts ? 2 * N * m.gate / machine.bf16_flops() : 0);
  const double attention = m.pair_flops * batch.pairs, passes = N * passes_per_token(machine, m, kind) / machine.memory_bytes_per_s();
  // Gradients are added to what earlier micro-batches left.
  const double held = m.attention + (experts ? m.shared + m.gate + m.experts / layout.expert_ranks * m.expert : m.dense_mlp);
  ChunkTime t;
  t.forward = products + attention / (machine.hardware.flops * c.attention_share) + passes;
  t.backward = products / c.backward_share + kBackwardAttention * attention / (machine.hardware.flops * c.attention_backward_share) + 2 * passes +
               2 * N * m.up_projections / machine.projection_flops();
  t.weight = products / c.backward_share + passes + 2 * held * machine.hardware.gradient_bytes / machine.memory_bytes_per_s();
  if (experts && layout.expert_ranks > 1) {
    const auto there = exchange_bytes(N, m, layout.expert_ranks, layout.gpus_per_node, layout.nodes_limit, machine.dispatch_bytes());
    const auto back = exchange_bytes(N, m, layout.expert_ranks, layout.gpus_per_node, layout.nodes_limit, machine.hardware.activation_bytes);
    t.exchange_forward = t.exchange_backward = machine.seconds(there) + machine.seconds(back);
    t.bytes += there * 2;
    t.bytes += back * 2;
    if (checkpointing) {
      t.exchange_backward += t.exchange_forward;
      t.bytes += there;
      t.bytes += back;
    }
  }
  if (checkpointing) t.backward += t.forward;
  return t;
}

ChunkTime head_time(const Machine& machine, const ModelParts& m, double tokens) {
  const double once = 2 * tokens * m.head / machine.bf16_flops();
  ChunkTime t;
  t.forward = t.backward = t.weight = once;
  return t;
}

double beside_exchange(const Machine& machine, double compute_s) {
  const auto& c = machine.cluster;
  return compute_s * c.multiprocessors / (c.multiprocessors - c.exchange_multiprocessors);
}

double inference_seconds(const Machine& machine, const ChunkTime& chunk) {
  if (chunk.exchange_forward == 0) return chunk.forward;
  return std::max(beside_exchange(machine, chunk.forward), chunk.exchange_forward);
}

}  // namespace r1::pipeline
