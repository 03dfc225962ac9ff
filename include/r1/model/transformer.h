#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <vector>

#include "r1/model/layers.h"
#include "r1/model/model_config.h"
#include "r1/model/mtp.h"
#include "r1/model/weights.h"
#include "r1/ops/cache.h"
#include "r1/ops/packed.h"

namespace r1::model {

/// Keys and values of every layer, or MLA's latents, in pages that sequences may share. `with_mtp`: also of the MTP module,
/// as layer num_layers.
class KvCache {
 public:
  KvCache(const ModelConfig& config, int64_t num_pages, at::TensorOptions options, bool with_mtp = false);

  int64_t num_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int32_t take();               ///< a page with one reference; the caller has checked num_free()
  void share(int32_t page);     ///< one more reference
  void release(int32_t page);   ///< one less; free again at zero
  int32_t copy(int32_t page);   ///< a new page with the same contents in every layer
  ops::KvStore& layer(int64_t i) { return layers_[static_cast<size_t>(i)]; }

  /// Bytes of a page over all layers.
  static int64_t bytes_per_page(const ModelConfig& config, bool with_mtp = false, at::ScalarType dtype = at::kFloat);

 private:
  std::vector<ops::KvStore> layers_;
  std::vector<int32_t> references_, free_;
};

/// One decoder-only transformer for training and for sampling. Parameters carry the names of HF checkpoints.
///
/// Experts may be dealt over ranks (ExpertRanks, docs/experts_parallel.md): then this rank has the parameters of its own alone, and every
/// pass is collective.
///
/// Rows are packed tokens [N]. In float32 on a CPU every row's result is the same bits in packed training form, in
/// prefill and in cached decoding, whatever else is in the batch (docs/numerics.md).
struct TransformerImpl : torch::nn::Module {
  explicit TransformerImpl(ModelConfig config, at::TensorOptions options = at::TensorOptions().dtype(at::kFloat), const ExpertRanks& experts = {});

  /// Hidden states before the final norm [N, C] of packed sequences. tokens_N [N] int64. `routing` (may be null) is for the
  /// expert layers and must stay as it is until the backward pass.
  at::Tensor hidden(const at::Tensor& tokens_N, const ops::PackedLayout& layout, const RoutingPtr& routing = nullptr);
  /// The same for new tokens of cached sequences; stores their keys and values. Without gradients.
  at::Tensor hidden_cached(const at::Tensor& tokens_N, KvCache& cache, const std::vector<ops::CacheRun>& runs,
                           const RoutingPtr& routing = nullptr);
  /// The same with all that it reads on the device, so that a graph of launches can hold it. reserve_positions comes first.
  at::Tensor hidden_cached(const at::Tensor& tokens_N, KvCache& cache, const ops::DeviceRuns& runs, const RoutingPtr& routing = nullptr);
  /// Makes the tables of rotary angles for positions below `count` now; afterwards they stay where they are.
  void reserve_positions(int64_t count) { grow_rope(count); }

  /// Rows of hidden() after the final norm [M, C]: what a head reads.
  at::Tensor final_norm(const at::Tensor& hidden_MC) { return norm_(hidden_MC); }
  /// Logits [M, V] of rows of hidden() (already gathered): final norm, then the head.
  at::Tensor logits(const at::Tensor& hidden_MC);
  /// {logprobs_M of targets_M at temperature 1 / inv_temperature, entropy_M in nats}; logits are never stored whole.
  std::tuple<at::Tensor, at::Tensor> logprobs(const at::Tensor& hidden_MC, const at::Tensor& targets_M,
                                              double inv_temperature);

  /// The MTP module on a packed batch: hidden states h' before its norm [M, C], from the trunk's tokens_N and hidden() [N, C].
  /// Its experts are the last layer of `routing`.
  at::Tensor mtp_hidden(const at::Tensor& tokens_N, const at::Tensor& hidden_NC, const MtpLayout& rows, MtpGradient gradient,
                        const RoutingPtr& routing = nullptr);
  /// The same for new rows of cached sequences: tokens_M are t_{i+1}, normed_MC rows of final_norm(). Without gradients.
  at::Tensor mtp_hidden_cached(const at::Tensor& tokens_M, const at::Tensor& normed_MC, KvCache& cache,
                               const std::vector<ops::CacheRun>& runs);
  /// logits() and logprobs() of rows of the module's hidden states.
  at::Tensor mtp_logits(const at::Tensor& hidden_MC);
  std::tuple<at::Tensor, at::Tensor> mtp_logprobs(const at::Tensor& hidden_MC, const at::Tensor& targets_M,
                                                  double inv_temperature, MtpGradient gradient);

  /// New weights: normal(0, initializer_range) for matrices, ones for norms, zeros for biases; the same on every machine. The
  /// trunk's do not depend on whether there is an MTP module.
  void initialize(uint64_t seed);
  /// Copies every weight from `source`; one without MTP module leaves this model's as it is. Throws Error for a missing tensor or
  /// another shape.
  void load_weights(const WeightSource& source);
  /// Of the whole model in order, whatever this rank has of it.
  std::vector<std::string> all_parameter_names() const;
  NamedTensors named_tensors() const;  ///< detached, in order: parameters, then the gates' biases
  /// Copies another model's weights; both have the same config, but this one may be without the other's MTP module.
  void copy_from(const TransformerImpl& other);
  /// Moves the weights to `device` in `dtype`; the gates' biases stay float32 (or float64). For a device: bf16, or float32 where
  /// train::AdamW, which is made next, is to keep these numbers as its masters.
  void place(at::Device device, at::ScalarType dtype);
  at::Device device() const { return embed_weight_.device(); }
  /// Drops the weights' second copies that decoding made.
  void release_packed();

  /// The blocks' expert layers from the first on, then the MTP module's; empty for a dense model.
  const std::vector<std::shared_ptr<MoeImpl>>& expert_layers() const { return expert_layers_; }

  const ExpertRanks& expert_ranks() const { return expert_ranks_; }

  const ModelConfig& config() const { return config_; }
  at::Tensor head_weight() const;

  /// Recompute each block in the backward pass instead of keeping what it needs: memory for a third more compute.
  bool activation_checkpointing = false;

 private:
  void grow_rope(int64_t positions);
  at::Tensor run_blocks(const std::vector<Block>& blocks, at::Tensor x_NC, BlockPass pass);
  at::Tensor run_packed(const std::vector<Block>& blocks, const at::Tensor& x_NC, const ops::PackedLayout& layout,
                        const RoutingPtr& routing);
  at::Tensor run_cached(const std::vector<Block>& blocks, const at::Tensor& x_NC, KvCache& cache,
                        const std::vector<ops::CacheRun>& runs, const RoutingPtr& routing);
  at::Tensor run_cached(const std::vector<Block>& blocks, const at::Tensor& x_NC, KvCache& cache, const ops::DeviceRuns& runs,
                        const RoutingPtr& routing);
  int64_t logit_chunk_rows() const;

  ModelConfig config_;
  ExpertRanks expert_ranks_;
  at::Tensor embed_weight_, cos_PD2_, sin_PD2_;
  std::vector<Block> blocks_;
  std::shared_ptr<MtpModuleImpl> mtp_;  ///< null without
  std::vector<Block> mtp_blocks_;       ///< its block
  std::vector<std::shared_ptr<MoeImpl>> expert_layers_;
  RmsNorm norm_{nullptr};
  Linear lm_head_{nullptr};
  ops::PackedWeight packed_head_;
};
TORCH_MODULE(Transformer);

}  // namespace r1::model
