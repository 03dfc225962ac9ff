#include "simulate_decoding.h"

#include <algorithm>
#include <cmath>

namespace r1::pipeline {
namespace {

// One layer's parts for `sequences` on a rank, all_to_all apart.
struct LayerParts {
  double fixed = 0, weights = 0, attention = 0, exchange = 0;
  double compute() const { return fixed + weights + attention; }
};

double weight_bytes(const Machine& machine) { return machine.fp8() ? 1 : machine.hardware.weight_bytes; }

LayerParts layer_parts(const Machine& machine, const ModelParts& m, const SamplerLayout& layout, bool experts, double sequences, double cached, double tokens_each) {
  const auto& h = machine.hardware;
  const double t = sequences * tokens_each;
  double read = m.attention, products_s = 2 * t * m.attention / machine.projection_flops();
  if (experts) {
    const double here = m.experts / layout.ranks + layout.redundant_experts;
    const double picked = 1 - std::pow(1 - m.experts_per_token / m.experts, t * layout.ranks);
    read += m.shared + m.gate + here * picked * m.expert;
    products_s += 2 * t * (m.shared + m.experts_per_token * m.expert) / machine.expert_flops();
  } else {
    read += m.dense_mlp;
    products_s += 2 * t * m.dense_mlp / machine.expert_flops();
  }
  LayerParts out;
  out.fixed = h.decode_layer_s;
  out.weights = std::max(read * weight_bytes(machine) / machine.memory_bytes_per_s(), products_s);
  out.attention = std::max(sequences * cached * m.cache_values * h.cache_bytes / machine.memory_bytes_per_s(),
                           t * cached * m.decode_pair_flops / (h.flops * machine.cluster.decode_attention_share));
  if (experts) out.exchange = decode_exchange(machine, m, layout, t, false) + decode_exchange(machine, m, layout, t, true);
  return out;
}

}  // namespace

double decode_exchange(const Machine& machine, const ModelParts& m, const SamplerLayout& layout, double tokens, bool combine) {
  if (layout.ranks <= 1) return 0;
  const auto& c = machine.cluster;
  const double bytes = tokens * m.experts_per_token * static_cast<double>(m.config.hidden_size) * (combine ? machine.hardware.activation_bytes : machine.dispatch_bytes());
  const double fixed = combine ? c.combine_s : c.dispatch_s;
  if (layout.ranks <= layout.gpus_per_node) return fixed + bytes * (layout.ranks - 1) / layout.ranks / c.nvlink_bytes_per_s;
  const double nodes = layout.ranks / layout.gpus_per_node;
  return fixed + bytes * (nodes - 1) / nodes / machine.hardware.network_bytes_per_s;
}

DecodeStep decode_step(const Machine& machine, const ModelParts& m, const SamplerLayout& layout, double sequences, double cached, double tokens_each) {
  const bool drafts = tokens_each > 1 && m.mtp_layers > 0;
  const bool mtp_has_experts = m.config.has_experts(m.config.num_layers);
  DecodeStep step;
  const auto add = [&](double layers, bool experts) {
    if (layers == 0) return;
    const auto whole = layer_parts(machine, m, layout, experts, sequences, cached, tokens_each);
    const auto half = layer_parts(machine, m, layout, experts, sequences / 2, cached, tokens_each);
    const bool in_turn = sequences >= 2 && 2 * std::max(half.compute(), half.exchange) < whole.compute() + whole.exchange;
    const auto& part = in_turn ? half : whole;
    const double times = layers * (in_turn ? 2 : 1);
    step.fixed += times * part.fixed;
    step.weights += times * part.weights;
    step.attention += times * part.attention;
    step.exchange += times * (in_turn ? std::max(0.0, part.exchange - part.compute()) : part.exchange);
  };
  add(m.dense_layers + (drafts && !mtp_has_experts ? 1 : 0), false);
  add(m.expert_layers + (drafts && mtp_has_experts ? 1 : 0), true);
  step.head = (drafts ? 2 : 1) * std::max(m.head * machine.hardware.weight_bytes / machine.memory_bytes_per_s(), 2 * sequences * tokens_each * m.head / machine.bf16_flops());
  return step;
}

}  // namespace r1::pipeline
