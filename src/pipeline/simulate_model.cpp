#include "simulate_model.h"

namespace r1::pipeline {

ModelParts ModelParts::of(const model::ModelConfig& c) {
  const auto C = static_cast<double>(c.hidden_size), H = static_cast<double>(c.num_heads), K = static_cast<double>(c.key_dim()), V = static_cast<double>(c.value_dim());
  const auto F = static_cast<double>(c.moe_intermediate_size);
  ModelParts m;
  m.config = c;
  if (c.has_latent_attention()) {
    const auto q = static_cast<double>(c.q_lora_rank), R = static_cast<double>(c.kv_lora_rank), rope = static_cast<double>(c.qk_rope_head_dim);
    m.up_projections = (q > 0 ? q * H * K : 0) + R * H * (static_cast<double>(c.qk_nope_head_dim) + V);
    m.attention = m.up_projections + (q > 0 ? C * q : C * H * K) + C * (R + rope) + H * V * C;
    m.decode_pair_flops = 2 * H * (2 * R + rope);
  } else {
    m.attention = C * K * (H + 2 * static_cast<double>(c.num_kv_heads)) + H * V * C;
    m.decode_pair_flops = 2 * H * (K + V);
  }
  m.dense_mlp = 3 * C * static_cast<double>(c.intermediate_size);
  m.expert = 3 * C * F;
  m.shared = static_cast<double>(c.n_shared_experts) * m.expert;
  m.experts = static_cast<double>(c.n_routed_experts);
  m.experts_per_token = static_cast<double>(c.num_experts_per_tok);
  m.gate = C * m.experts;
  m.head = static_cast<double>(c.vocab_size) * C;
  m.mtp_projection = 2 * C * C;
  m.expert_layers = static_cast<double>(c.num_expert_layers());
  m.dense_layers = static_cast<double>(c.num_layers) - m.expert_layers;
  m.mtp_layers = c.has_mtp() ? 1 : 0;
  m.pair_flops = 2 * H * (K + V);
  m.cache_values = static_cast<double>(c.cache_values());
  return m;
}

double ModelParts::replicated_parameters() const {
  const bool mtp_has_experts = config.has_experts(config.num_layers);
  return layers() * attention + dense_layers * dense_mlp + expert_layers * (shared + gate) + (config.tie_embeddings ? 1 : 2) * head +
         mtp_layers * (attention + mtp_projection + (mtp_has_experts ? shared + gate : dense_mlp));
}

}  // namespace r1::pipeline
