#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "r1/model/transformer.h"

namespace r1::apps {

/// Log-probabilities of given token ids under a model, by either of its two ways to compute.
class Scorer {
 public:
  /// temperature > 0 divides the logits.
  Scorer(model::Transformer model, double temperature)
      : model_(std::move(model)), inv_temperature_(1 / temperature) {}

  /// log p(ids[t] | ids[0 .. t-1]) for t = 1 .. T-1, in nats, [T - 1] in the model's dtype; T >= 1.
  /// All positions at once, as in training.
  at::Tensor packed(const std::vector<int32_t>& ids) const;
  /// The same by the KV cache, as in sampling: `prefill` ids at once, then one at a time. In float32 on a CPU
  /// these are the same bits as packed().
  at::Tensor cached(const std::vector<int32_t>& ids, int64_t prefill);

  /// All logits [T, V] of a sequence, before the temperature, by the packed way.
  at::Tensor logits(const std::vector<int32_t>& ids) const;

  const model::ModelConfig& config() const { return model_->config(); }

 private:
  at::Tensor hidden(const at::Tensor& tokens) const;

  mutable model::Transformer model_;
  double inv_temperature_;
  std::unique_ptr<model::KvCache> cache_;
};

}  // namespace r1::apps
