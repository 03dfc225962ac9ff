#include "simulate_layout.h"

#include <algorithm>

#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// What the backward pass needs of one layer, per token: inputs of the norms, latents, attention's output, and of each expert the
// input and the halves of SwiGLU, FP8 where products are (arXiv:2412.19437v2, 3.3.3).
double kept_per_token(const Machine& machine, const ModelParts& m, bool experts) {
  const auto& c = m.config;
  const double a = machine.hardware.activation_bytes, d = machine.dispatch_bytes();
  const auto C = static_cast<double>(c.hidden_size), H = static_cast<double>(c.num_heads);
  double bytes = 2 * a * C + 2 * d * C + a * H * static_cast<double>(c.value_dim()) + 4 * H;
  bytes += c.has_latent_attention() ? a * static_cast<double>(c.q_lora_rank + c.kv_lora_rank + c.qk_rope_head_dim)
                                    : a * static_cast<double>((c.num_heads + 2 * c.num_kv_heads) * c.head_dim);
  if (!experts) return bytes + 2 * d * static_cast<double>(c.intermediate_size);
  const auto F = static_cast<double>(c.moe_intermediate_size);
  return bytes + m.experts_per_token * d * (C + 2 * F) + static_cast<double>(c.n_shared_experts) * d * 2 * F;
}

// The most that one layer has at a time beyond that: queries, keys and values, and what the experts give back.
double passing_per_token(const Machine& machine, const ModelParts& m, bool experts) {
  const auto& c = m.config;
  const double a = machine.hardware.activation_bytes;
  const double attention = a * static_cast<double>(c.num_heads * (2 * c.key_dim() + c.value_dim()));
  const double mlp = a * (experts ? m.experts_per_token * static_cast<double>(c.hidden_size + 2 * c.moe_intermediate_size) : 3.0 * static_cast<double>(c.intermediate_size));
  return std::max(attention, mlp);
}

}  // namespace

std::string Layout::text() const {
  std::string out = cat(data(), data() == 1 ? " pipeline x " : " pipelines x ", pipeline, pipeline == 1 ? " stage" : " stages");
  if (expert > 1) out += cat(", experts over ", expert, " ranks (", std::max<int64_t>(1, expert / gpus_per_node), expert > gpus_per_node ? " nodes)" : " node)");
  return out;
}

std::string why_not(const Layout& l, const ModelParts& m) {
  if (l.ranks % l.pipeline != 0) return cat(l.ranks, " ranks are no multiple of ", l.pipeline, " stages");
  if (static_cast<double>(l.pipeline) > m.layers()) return cat("more stages than the model's ", m.layers(), " layers");
  if (l.data() % l.expert != 0) return cat(l.ranks, " ranks / ", l.pipeline, " stages = ", l.data(), " is no multiple of ", l.expert, " expert ranks");
  if (l.expert > 1 && m.experts == 0) return "the model has no experts";
  if (l.expert > 1 && static_cast<int64_t>(m.experts) % l.expert != 0) return cat(m.experts, " experts cannot be dealt to ", l.expert, " ranks");
  if (l.expert % l.gpus_per_node != 0 && l.gpus_per_node % l.expert != 0) return cat(l.expert, " expert ranks are neither a part nor a multiple of a node's ", l.gpus_per_node);
  return "";
}

double nodes_limit_of(const model::ModelConfig& c, int64_t expert_ranks, int64_t gpus_per_node) {
  if (c.n_routed_experts == 0 || c.n_group <= 1 || c.topk_group >= c.n_group) return 0;
  const double nodes = std::max(1.0, static_cast<double>(expert_ranks) / static_cast<double>(gpus_per_node));
  return static_cast<double>(c.topk_group) * std::max(1.0, nodes / static_cast<double>(c.n_group));
}

std::vector<std::pair<std::string, double>> training_memory(const Machine& machine, const ModelParts& m, const Layout& l, double tokens, int64_t held, bool dual,
                                                            bool checkpointing) {
  const auto& h = machine.hardware;
  const double stages = static_cast<double>(l.pipeline), copies = dual && l.pipeline > 1 ? 2 : 1;
  const double here = copies * (m.replicated_parameters() / stages + m.routed_parameters() / (stages * static_cast<double>(l.expert)));
  const double all = m.replicated_parameters() + m.routed_parameters();
  const bool experts = m.expert_layers > 0;
  const double layers = (m.layers() + m.mtp_layers) / stages, kept = kept_per_token(machine, m, experts);
  const double a_layer = checkpointing ? h.activation_bytes * static_cast<double>(m.config.hidden_size) : kept;
  return {{"weights", here * h.weight_bytes},
          {"gradients", here * h.gradient_bytes},
          {"master weights and optimizer", all * (h.master_bytes + h.moment_bytes) / static_cast<double>(l.ranks)},
          {"activations", static_cast<double>(held) * layers * tokens * a_layer},
          {"the layer at work", tokens * ((checkpointing ? kept : 0) + passing_per_token(machine, m, experts))},
          {"program", 1.5e9}};
}

}  // namespace r1::pipeline
