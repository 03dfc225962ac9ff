#pragma once
#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <vector>

#include "r1/model/model_config.h"
#include "r1/model/weights.h"
#include "r1/ops/cache.h"
#include "r1/ops/packed.h"

namespace r1::model {

/// The part of a block that differs between training and sampling: (layer, q_NHD, k_NhD, v_NhD) -> [N, H, D].
using Attend = std::function<at::Tensor(int64_t, const at::Tensor&, const at::Tensor&, const at::Tensor&)>;

/// Keys and values of every layer, in pages that sequences may share.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t num_pages, at::TensorOptions options);

  int64_t num_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int32_t take();               ///< a page with one reference; the caller has checked num_free()
  void share(int32_t page);     ///< one more reference
  void release(int32_t page);   ///< one less; free again at zero
  int32_t copy(int32_t page);   ///< a new page with the same contents in every layer
  ops::KvStore& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }

  /// Bytes of a page over all layers (float32).
  static int64_t bytes_per_page(const ModelConfig& config);

 private:
  std::vector<ops::KvStore> layers_;
  std::vector<int32_t> references_, free_;
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

/// Grouped-query attention with rotary positions, optional biases and q/k norms.
struct SelfAttentionImpl : torch::nn::Module {
  SelfAttentionImpl(const ModelConfig& config, int64_t layer, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC, const at::Tensor& positions_N, const at::Tensor& cos_PD2,
                     const at::Tensor& sin_PD2, const Attend& attend);
  Linear q_proj{nullptr}, k_proj{nullptr}, v_proj{nullptr}, o_proj{nullptr};
  RmsNorm q_norm{nullptr}, k_norm{nullptr};
  int64_t layer, num_heads, num_kv_heads, head_dim;
};
TORCH_MODULE(SelfAttention);

/// down(silu(gate x) * up x).
struct MlpImpl : torch::nn::Module {
  MlpImpl(const ModelConfig& config, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC);
  Linear gate_proj{nullptr}, up_proj{nullptr}, down_proj{nullptr};
};
TORCH_MODULE(Mlp);

/// x += attention(norm x); x += mlp(norm x). Other kinds of attention or MLP slot in here.
struct BlockImpl : torch::nn::Module {
  BlockImpl(const ModelConfig& config, int64_t layer, at::TensorOptions options);
  at::Tensor forward(const at::Tensor& x_NC, const at::Tensor& positions_N, const at::Tensor& cos_PD2,
                     const at::Tensor& sin_PD2, const Attend& attend);
  RmsNorm input_layernorm{nullptr}, post_attention_layernorm{nullptr};
  SelfAttention self_attn{nullptr};
  Mlp mlp{nullptr};
};
TORCH_MODULE(Block);

/// One decoder-only transformer for training and for sampling. Parameters carry the names of HF checkpoints.
///
/// Rows are packed tokens [N]. In float32 on a CPU every row's result is the same bits in packed training form, in
/// prefill and in cached decoding, whatever else is in the batch (docs/numerics.md).
struct TransformerImpl : torch::nn::Module {
  explicit TransformerImpl(ModelConfig config, at::TensorOptions options = at::TensorOptions().dtype(at::kFloat));

  /// Hidden states before the final norm [N, C] of packed sequences. tokens_N [N] int64.
  at::Tensor hidden(const at::Tensor& tokens_N, const ops::PackedLayout& layout);
  /// The same for new tokens of cached sequences; stores their keys and values. Without gradients.
  at::Tensor hidden_cached(const at::Tensor& tokens_N, KvCache& cache, const std::vector<ops::CacheRun>& runs);

  /// Rows of hidden() after the final norm [M, C]: what a head reads.
  at::Tensor final_norm(const at::Tensor& hidden_MC) { return norm_(hidden_MC); }
  /// Logits [M, V] of rows of hidden() (already gathered): final norm, then the head.
  at::Tensor logits(const at::Tensor& hidden_MC);
  /// {logprobs_M of targets_M at temperature 1 / inv_temperature, entropy_M in nats}; logits are never stored whole.
  std::tuple<at::Tensor, at::Tensor> logprobs(const at::Tensor& hidden_MC, const at::Tensor& targets_M,
                                              double inv_temperature);

  /// New weights: normal(0, initializer_range) for matrices, ones for norms, zeros for biases; the same on every machine.
  void initialize(uint64_t seed);
  /// Copies every weight from `source`. Throws Error for a missing tensor or another shape.
  void load_weights(const WeightSource& source);
  NamedTensors named_tensors() const;  ///< detached, in order
  /// Copies another model's weights; both have the same config.
  void copy_from(const TransformerImpl& other);
  /// Drops the weights' second copies that decoding made.
  void release_packed();

  const ModelConfig& config() const { return config_; }
  at::Tensor head_weight() const;

  /// Recompute each block in the backward pass instead of keeping what it needs: memory for a third more compute.
  bool activation_checkpointing = false;

 private:
  void grow_rope(int64_t positions);
  at::Tensor run_blocks(at::Tensor x_NC, const at::Tensor& positions_N, const Attend& attend);

  ModelConfig config_;
  at::TensorOptions options_;
  at::Tensor embed_weight_, cos_PD2_, sin_PD2_;
  std::vector<Block> blocks_;
  RmsNorm norm_{nullptr};
  Linear lm_head_{nullptr};
  ops::PackedWeight packed_head_;
};
TORCH_MODULE(Transformer);

}  // namespace r1::model
