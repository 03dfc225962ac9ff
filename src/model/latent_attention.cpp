#include <torch/torch.h>

#include "r1/model/layers.h"
#include "r1/ops/ops.h"

namespace r1::model {

using torch::Tensor;

namespace {

constexpr double kLatentNormEps =
    1e-6;  // of both latents' norms, whatever rms_norm_eps is (HF's and DeepSeek's own code)

// Neighbouring pairs to the half-split order that ops::rope turns. q and k change alike, so their products
// stay.
Tensor half_split(const Tensor& x_NHD) {
  const int64_t N = x_NHD.size(0), H = x_NHD.size(1), D = x_NHD.size(2);
  return x_NHD.reshape({N, H, D / 2, 2}).transpose(2, 3).reshape({N, H, D});
}

}  // namespace

LatentAttentionImpl::LatentAttentionImpl(const ModelConfig& c, int64_t layer_, at::TensorOptions options)
    : layer(layer_),
      num_heads(c.num_heads),
      rank(c.kv_lora_rank),
      nope_dim(c.qk_nope_head_dim),
      rope_dim(c.qk_rope_head_dim),
      value_dim(c.v_head_dim),
      interleaved(c.rope_interleave) {
  const int64_t q_width = num_heads * (nope_dim + rope_dim);
  if (c.q_lora_rank == 0) {
    q_proj = register_module("q_proj", Linear(c.hidden_size, q_width, false, options));
  } else {
    q_a_proj = register_module("q_a_proj", Linear(c.hidden_size, c.q_lora_rank, false, options));
    q_a_layernorm = register_module("q_a_layernorm", RmsNorm(c.q_lora_rank, kLatentNormEps, options));
    q_b_proj = register_module("q_b_proj", Linear(c.q_lora_rank, q_width, false, options));
  }
  kv_a_proj_with_mqa =
      register_module("kv_a_proj_with_mqa", Linear(c.hidden_size, rank + rope_dim, false, options));
  kv_a_layernorm = register_module("kv_a_layernorm", RmsNorm(rank, kLatentNormEps, options));
  kv_b_proj = register_module("kv_b_proj", Linear(rank, num_heads * (nope_dim + value_dim), false, options));
  o_proj = register_module("o_proj", Linear(num_heads * value_dim, c.hidden_size, false, options));
}

Tensor LatentAttentionImpl::forward(const Tensor& x_NC, const BlockPass& pass) {
  const int64_t N = x_NC.size(0);
  const auto turned = [&](const Tensor& x_NHD) {
    return ops::rope(interleaved ? half_split(x_NHD) : x_NHD, pass.positions_N, pass.cos_PD2, pass.sin_PD2);
  };
  const auto q = q_proj.is_empty() ? q_b_proj(q_a_layernorm(q_a_proj(x_NC))) : q_proj(x_NC);
  const auto q_NHD = q.view({N, num_heads, nope_dim + rope_dim});
  const auto kv = kv_a_proj_with_mqa(x_NC);
  const auto latent_NR = kv_a_layernorm(kv.narrow(1, 0, rank));
  const auto rotary_key_N1D = turned(kv.narrow(1, rank, rope_dim).unsqueeze(1));

  if (pass.expand_latents) {
    const auto kv_NHD = kv_b_proj(latent_NR).view({N, num_heads, nope_dim + value_dim});
    const auto key_NHD = torch::cat({kv_NHD.narrow(2, 0, nope_dim), rotary_key_N1D.expand({N, num_heads, rope_dim})}, 2);
    const auto query_NHD = torch::cat({q_NHD.narrow(2, 0, nope_dim), turned(q_NHD.narrow(2, nope_dim, rope_dim))}, 2);
    const auto out_NHD = pass.attend(layer, query_NHD, key_NHD, kv_NHD.narrow(2, nope_dim, value_dim));
    return o_proj(out_NHD.reshape({N, num_heads * value_dim}));
  }
  const auto up_HDR = kv_b_proj->weight.view({num_heads, nope_dim + value_dim, rank});  // W_UK,h over W_UV,h
  const auto absorbed_NHR = ops::head_product(q_NHD.narrow(2, 0, nope_dim), up_HDR.narrow(1, 0, nope_dim));
  const auto query_NHD = torch::cat({absorbed_NHR, turned(q_NHD.narrow(2, nope_dim, rope_dim))}, 2);
  const auto key_N1D = torch::cat({latent_NR.unsqueeze(1), rotary_key_N1D}, 2);
  const auto mixed_NHR = pass.attend(layer, query_NHD, key_N1D, {}).narrow(2, 0, rank);
  const auto value_NHD = ops::head_product(mixed_NHR, up_HDR.narrow(1, nope_dim, value_dim).transpose(1, 2));
  return o_proj(value_NHD.reshape({N, num_heads * value_dim}));
}

}  // namespace r1::model
