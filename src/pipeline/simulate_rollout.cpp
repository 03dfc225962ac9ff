#include "simulate_rollout.h"

#include <algorithm>
#include <cmath>

namespace r1::pipeline {
namespace {

constexpr int kPieces = 400;  // of the time until the longest completion ends; twice as many change a rollout by less than 0.1 %

}  // namespace

CompletionLengths::CompletionLengths(double mean, double limit) : mean_(std::min(mean, 0.999 * limit)), limit_(limit), scale_(mean) {
  double low = mean_, high = 1e4 * limit_;  // mean = scale (1 - exp(-limit / scale)) rises with the scale
  for (int i = 0; i < 100; ++i) {
    scale_ = std::sqrt(low * high);
    (scale_ * (1 - std::exp(-limit_ / scale_)) < mean_ ? low : high) = scale_;
  }
}

double CompletionLengths::longer_than(double tokens) const { return tokens < limit_ ? std::exp(-tokens / scale_) : 0; }

double CompletionLengths::mean_square(double prompt) const {
  const double x = limit_ / scale_, square = 2 * scale_ * scale_ * (1 - std::exp(-x) * (1 + x));
  return prompt * prompt + 2 * prompt * mean_ + square;
}

double CompletionLengths::longest_of(double n) const { return std::min(limit_, std::max(mean_, scale_ * std::log(2 * n))); }

RolloutTime simulate_rollout(const Machine& machine, const ModelParts& m, const SamplerLayout& layout, double replicas, const RolloutWork& work,
                             const CompletionLengths& lengths) {
  const double ranks = layout.ranks * replicas, tokens_each = std::ceil(work.tokens_per_decode_step);
  const double each = std::ceil(work.completions / ranks), at_once = work.at_once > 0 ? std::min(each, work.at_once) : each, waves = std::ceil(each / at_once);
  RolloutTime out;
  const double prompt_tokens = work.prompts * work.prompt_tokens / ranks;
  const ExpertLayout experts{layout.ranks, layout.gpus_per_node, 0};
  const MicroBatch prompts{prompt_tokens, prompt_tokens * (work.prompt_tokens + 1) / 2};
  if (m.dense_layers > 0) out.prefill_s += m.dense_layers * inference_seconds(machine, layer_time(machine, m, LayerKind::kDense, prompts, experts, false));
  if (m.expert_layers > 0) out.prefill_s += m.expert_layers * inference_seconds(machine, layer_time(machine, m, LayerKind::kExperts, prompts, experts, false));
  const double piece = work.longest / kPieces;
  for (int i = 0; i < kPieces; ++i) {
    const double done = (i + 0.5) * piece, S = lengths.longer_than(done);
    const double mean = at_once * S, spread = std::sqrt(2 * at_once * S * (1 - S) * std::log(std::max(1.0, ranks)));
    const double busiest = std::clamp(mean + spread, std::min(1.0, at_once), at_once), cached = work.prompt_tokens + done;
    const auto step = decode_step(machine, m, layout, busiest, cached, tokens_each);
    const double steps = waves * piece / work.tokens_per_decode_step;
    for (const auto& [sum, part] : {std::pair{&out.sum.fixed, step.fixed}, {&out.sum.weights, step.weights}, {&out.sum.attention, step.attention},
                                    {&out.sum.exchange, step.exchange}, {&out.sum.head, step.head}}) {
      *sum += steps * part;
    }
    out.steps += steps;
    if (i == 0) out.first = step;
    out.last = step;
    out.cached_tokens = std::max(out.cached_tokens, busiest * cached);
    const double nodes = std::max(1.0, layout.ranks / layout.gpus_per_node), g = std::min(layout.ranks, layout.gpus_per_node);
    const double bytes = steps * mean * tokens_each * m.expert_layers * m.experts_per_token * static_cast<double>(m.config.hidden_size) *
                         (machine.dispatch_bytes() + machine.hardware.activation_bytes);
    if (layout.ranks > 1) out.bytes += {nodes > 1 ? 0 : bytes * (g - 1) / g, bytes * (nodes - 1) / nodes};
  }
  out.decode_s = out.sum.seconds();
  return out;
}

std::vector<std::pair<std::string, double>> sampler_memory(const Machine& machine, const ModelParts& m, const SamplerLayout& layout, double cached_tokens) {
  const auto& h = machine.hardware;
  const double bytes = machine.fp8() ? 1 : h.weight_bytes;
  const double vocabulary = (m.config.tie_embeddings ? 1 : 2) * m.head;
  const double redundant = (m.expert_layers + m.mtp_layers) * layout.redundant_experts * m.expert;
  return {{"weights", (m.replicated_parameters() - vocabulary + m.routed_parameters() / layout.ranks + redundant) * bytes + vocabulary * h.weight_bytes},
          {"KV cache", cached_tokens * m.cache_values * (m.layers() + m.mtp_layers) * h.cache_bytes},
          {"program", 1.5e9}};
}

}  // namespace r1::pipeline
