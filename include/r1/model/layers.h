#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <memory>

#include "r1/model/expert_ranks.h"
#include "r1/model/model_config.h"
#include "r1/model/routing.h"
#include "r1/ops/cache.h"
#include "r1/ops/moe.h"
#include "r1/ops/packed.h"

// What a transformer is put together from. Parameters carry the names of HF checkpoints.
namespace r1::model {

/// The part of a block that differs between training and sampling: (layer, q_NHD, k_NhD, v_NhD) -> [N, H, D].
/// v is undefined where the values are the keys.
using Attend = std::function<at::Tensor(int64_t, const at::Tensor&, const at::Tensor&, const at::Tensor&)>;

/// What all blocks of one pass over N rows share; lives until the backward pass.
struct BlockPass {
  at::Tensor positions_N, cos_PD2, sin_PD2;
  Attend attend;
  std::shared_ptr<const ops::PackedLayout> layout;  ///< of packed sequences; null with a cache
  bool expand_latents = false;                      ///< the form of LatentAttentionImpl: for packed sequences alone
  RoutingPtr routing;                               ///< may be null
};

/// A weight matrix and its optional bias; [out, in] as in HF checkpoints.
struct LinearImpl : torch::nn::Module {
  LinearImpl(int64_t in, int64_t out, bool has_bias, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC);
  at::Tensor weight, bias;
  ops::PackedWeight packed;
};
TORCH_MODULE(Linear);

struct RmsNormImpl : torch::nn::Module {
  RmsNormImpl(int64_t width, double eps, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x);
  at::Tensor weight;
  double eps;
};
TORCH_MODULE(RmsNorm);

/// A kind of attention: x_NC -> [N, C].
struct AttentionImpl : torch::nn::Module {
  virtual at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) = 0;
};

/// Grouped-query attention with rotary positions, optional biases and q/k norms.
struct SelfAttentionImpl : AttentionImpl {
  SelfAttentionImpl(const ModelConfig& config, int64_t layer, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) override;
  Linear q_proj{nullptr}, k_proj{nullptr}, v_proj{nullptr}, o_proj{nullptr};
  RmsNorm q_norm{nullptr}, k_norm{nullptr};
  int64_t layer, num_heads, num_kv_heads, head_dim;
};

/// Multi-head latent attention (arXiv:2405.04434 section 2.1, equations (9)-(19)).
///
///   c = norm(W_DKV x)  [R]        the latent; with the rotary key k^R = rope(W_KR x) all that a token leaves
///   in the cache k_h = [W_UK,h c ; k^R],  v_h = W_UV,h c,  q_h = [W_UQ,h c^Q ; rope(W_QR,h c^Q)],  c^Q =
///   norm(W_DQ x) or x
///
/// That is the expanded form: H keys and values of a head's own width. The absorbed form is the same sum in another
/// order: with q'_h = [W_UK,h^T q^C_h ; q^R_h] every head attends to the same key [c ; k^R] and value c, and W_UV,h turns
/// its result. A cache holds the latter's keys. On a CPU both training and sampling take the absorbed form, which makes
/// the sampler's bits the trainer's; on a device packed sequences take the expanded one (BlockPass::expand_latents;
/// docs/model.md has the cost of each).
struct LatentAttentionImpl : AttentionImpl {
  LatentAttentionImpl(const ModelConfig& config, int64_t layer, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) override;
  Linear q_proj{nullptr}, q_a_proj{nullptr}, q_b_proj{nullptr};  ///< q_proj, or the other two
  Linear kv_a_proj_with_mqa{nullptr}, kv_b_proj{nullptr}, o_proj{nullptr};
  RmsNorm q_a_layernorm{nullptr}, kv_a_layernorm{nullptr};
  int64_t layer, num_heads, rank, nope_dim, rope_dim, value_dim;
  bool interleaved;  ///< rotary pairs are neighbours (2i, 2i + 1) in the weights
};

/// The second half of a block: x_NC -> [N, C].
struct FeedForwardImpl : torch::nn::Module {
  virtual at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) = 0;
};

/// down(silu(gate x) * up x).
struct MlpImpl : FeedForwardImpl {
  MlpImpl(int64_t hidden_size, int64_t intermediate_size, bool has_bias, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) override;
  at::Tensor forward(const at::Tensor& x_NC);
  Linear gate_proj{nullptr}, up_proj{nullptr}, down_proj{nullptr};
};
TORCH_MODULE(Mlp);

/// Logits over the experts, and the bias that evens their loads, which no gradient reaches.
struct GateImpl : torch::nn::Module {
  GateImpl(const ModelConfig& config, at::TensorOptions options);
  at::Tensor weight, e_score_correction_bias;
};
TORCH_MODULE(Gate);

/// sum_k w_k expert_k(x) + shared(x): routed experts and the ones that every token meets (arXiv:2412.19437v2
/// eq. (12)).
struct MoeImpl : FeedForwardImpl {
  MoeImpl(const ModelConfig& config, int64_t expert_layer, at::TensorOptions options, const ExpertRanks& ranks);
  at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass) override;
  /// The experts' matrices become parts of one tensor each for a device's products, under their own names.
  void stack_experts();
  std::vector<ops::ExpertWeights> matrices();
  /// Whose .grad the experts' matrices have theirs in: [3 experts] the parameters (gate, up, down of each), or, where each rank's
  /// tokens have theirs apart, [ranks][3 experts] tensors of the parameters' storage.
  const std::vector<at::Tensor>& leaves();
  Gate gate{nullptr};
  std::vector<Mlp> experts;  ///< of this rank
  Mlp shared_experts{nullptr};
  ops::GateRule rule;
  int64_t expert_layer;  ///< among the layers with experts
  ExpertRanks ranks;

 private:
  std::vector<at::Tensor> leaves_;
};

/// x += attention(norm x); x += mlp(norm x).
struct BlockImpl : torch::nn::Module {
  BlockImpl(const ModelConfig& config, int64_t layer, at::TensorOptions options, const ExpertRanks& experts);
  at::Tensor forward(const at::Tensor& x_NC, const BlockPass& pass);
  RmsNorm input_layernorm{nullptr}, post_attention_layernorm{nullptr};
  std::shared_ptr<AttentionImpl> self_attn;
  std::shared_ptr<FeedForwardImpl> mlp;
};
TORCH_MODULE(Block);

}  // namespace r1::model
