#include <torch/torch.h>

#include "r1/model/layers.h"
#include "r1/ops/ops.h"

namespace r1::model {

using torch::Tensor;

namespace {
// Below this many rows a product without gradients streams a packed weight; above, packing as it goes costs little.
constexpr int64_t kPackedRows = 384;
}  // namespace

LinearImpl::LinearImpl(int64_t in, int64_t out, bool has_bias, at::TensorOptions options) {
  weight = register_parameter("weight", torch::zeros({out, in}, options));
  if (has_bias) bias = register_parameter("bias", torch::zeros({out}, options));
}

Tensor LinearImpl::forward(const Tensor& x_NC) {
  if (!torch::GradMode::is_enabled() && x_NC.size(0) <= kPackedRows) return packed.linear(x_NC, weight, bias);
  return ops::linear(x_NC, weight, bias);
}

RmsNormImpl::RmsNormImpl(int64_t width, double eps_, at::TensorOptions options) : eps(eps_) {
  weight = register_parameter("weight", torch::ones({width}, options));
}

Tensor RmsNormImpl::forward(const Tensor& x) { return ops::rms_norm(x, weight, eps); }

SelfAttentionImpl::SelfAttentionImpl(const ModelConfig& c, int64_t layer_, at::TensorOptions options)
    : layer(layer_), num_heads(c.num_heads), num_kv_heads(c.num_kv_heads), head_dim(c.head_dim) {
  q_proj = register_module("q_proj", Linear(c.hidden_size, num_heads * head_dim, c.qkv_bias, options));
  k_proj = register_module("k_proj", Linear(c.hidden_size, num_kv_heads * head_dim, c.qkv_bias, options));
  v_proj = register_module("v_proj", Linear(c.hidden_size, num_kv_heads * head_dim, c.qkv_bias, options));
  o_proj = register_module("o_proj", Linear(num_heads * head_dim, c.hidden_size, c.o_bias, options));
  if (c.qk_norm) {
    q_norm = register_module("q_norm", RmsNorm(head_dim, c.rms_norm_eps, options));
    k_norm = register_module("k_norm", RmsNorm(head_dim, c.rms_norm_eps, options));
  }
}

Tensor SelfAttentionImpl::forward(const Tensor& x_NC, const BlockPass& pass) {
  const int64_t N = x_NC.size(0);
  auto q_NHD = q_proj(x_NC).view({N, num_heads, head_dim});
  auto k_NhD = k_proj(x_NC).view({N, num_kv_heads, head_dim});
  const auto v_NhD = v_proj(x_NC).view({N, num_kv_heads, head_dim});
  if (!q_norm.is_empty()) {
    q_NHD = q_norm(q_NHD);
    k_NhD = k_norm(k_NhD);
  }
  q_NHD = ops::rope(q_NHD, pass.positions_N, pass.cos_PD2, pass.sin_PD2);
  k_NhD = ops::rope(k_NhD, pass.positions_N, pass.cos_PD2, pass.sin_PD2);
  return o_proj(pass.attend(layer, q_NHD, k_NhD, v_NhD).view({N, num_heads * head_dim}));
}

MlpImpl::MlpImpl(int64_t hidden_size, int64_t intermediate_size, bool has_bias, at::TensorOptions options) {
  gate_proj = register_module("gate_proj", Linear(hidden_size, intermediate_size, has_bias, options));
  up_proj = register_module("up_proj", Linear(hidden_size, intermediate_size, has_bias, options));
  down_proj = register_module("down_proj", Linear(intermediate_size, hidden_size, has_bias, options));
}

Tensor MlpImpl::forward(const Tensor& x_NC) { return down_proj(ops::silu_mul(gate_proj(x_NC), up_proj(x_NC))); }
Tensor MlpImpl::forward(const Tensor& x_NC, const BlockPass&) { return forward(x_NC); }

BlockImpl::BlockImpl(const ModelConfig& c, int64_t layer, at::TensorOptions options, const ExpertRanks& experts) {
  input_layernorm = register_module("input_layernorm", RmsNorm(c.hidden_size, c.rms_norm_eps, options));
  if (c.has_latent_attention()) {
    self_attn = std::make_shared<LatentAttentionImpl>(c, layer, options);
  } else {
    self_attn = std::make_shared<SelfAttentionImpl>(c, layer, options);
  }
  register_module("self_attn", self_attn);
  post_attention_layernorm = register_module("post_attention_layernorm", RmsNorm(c.hidden_size, c.rms_norm_eps, options));
  if (c.has_experts(layer)) {
    mlp = std::make_shared<MoeImpl>(c, layer - c.first_k_dense_replace, options, experts);
  } else {
    mlp = std::make_shared<MlpImpl>(c.hidden_size, c.intermediate_size, c.mlp_bias, options);
  }
  register_module("mlp", mlp);
}

Tensor BlockImpl::forward(const Tensor& x_NC, const BlockPass& pass) {
  const auto y_NC = x_NC + self_attn->forward(input_layernorm(x_NC), pass);
  return y_NC + mlp->forward(post_attention_layernorm(y_NC), pass);
}

}  // namespace r1::model
