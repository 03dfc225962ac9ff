#pragma once
#include "simulate_links.h"

namespace r1::pipeline {

/// What one rank computes at a time: tokens, and the (query, key) pairs of one layer among them.
struct MicroBatch {
  double tokens = 0, pairs = 0;
};

/// How the ranks share a model, for one micro-batch.
struct ExpertLayout {
  double expert_ranks = 1;  ///< that share a layer's experts
  double gpus_per_node = 8;
  double nodes_limit = 0;   ///< nodes that a token's experts may lie on; 0: all
};

/// Seconds that one rank takes for one micro-batch in a part of the model, alone on the device.
struct ChunkTime {
  double forward = 0;   ///< computing
  double backward = 0;  ///< gradients of the inputs, and what is computed again for them
  double weight = 0;    ///< gradients of the weights
  double exchange_forward = 0, exchange_backward = 0;  ///< all_to_all there and back
  LinkBytes bytes = {}; ///< of both

  ChunkTime& operator+=(const ChunkTime& other);
  ChunkTime operator*(double times) const;
  double compute() const { return forward + backward + weight; }
};

enum class LayerKind { kDense, kExperts };

/// One layer. With N tokens, P pairs and the parameters of ModelParts:
///
///   products   2 N (attention + MLP that a token meets) / their speed; those of the backward pass twice, at backward_share of it
///   attention  pair_flops P / speed; backward 2.5 times the FLOPs (arXiv:2205.14135, 3.1: scores are made again)
///   passes     bytes of norms, residuals, rotation, quantisation, permutation of tokens and SwiGLU / memory speed; in the backward
///              pass twice for the inputs, once for the weights, whose float32 gradients are read and written besides
///   exchange   dispatch and combine (simulate_links.h), in the forward and in the backward pass
///
/// The up-projections of latent attention are computed again in the backward pass (arXiv:2412.19437v2, 3.2.3); with
/// `checkpointing` the whole forward pass is, with its exchange.
ChunkTime layer_time(const Machine& machine, const ModelParts& model, LayerKind kind, const MicroBatch& batch, const ExpertLayout& layout, bool checkpointing);

/// The head in bfloat16: 2 N V C FLOPs three times. (`r1` makes the logits a second time in the backward pass to save memory,
/// model/flops.h; DeepSeek-V3's report says nothing of the kind, so it is not reckoned here.)
ChunkTime head_time(const Machine& machine, const ModelParts& model, double tokens);

/// Computing while all_to_all runs beside it: products have fewer multiprocessors.
double beside_exchange(const Machine& machine, double compute_s);

/// A forward pass alone that hides each half-batch's all_to_all behind the other's products (arXiv:2412.19437v2, 3.4.1), which needs
/// no gradients: max(computing beside it, exchange).
double inference_seconds(const Machine& machine, const ChunkTime& chunk);

}  // namespace r1::pipeline
