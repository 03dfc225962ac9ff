#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "r1/model/transformer.h"
#include "r1/train/sharing.h"
#include "r1/util/config.h"

namespace r1::train {

/// The `experts:` section of a training stage; without effect on a dense model.
struct ExpertConfig {
  double bias_rate = 0.001;     ///< gamma: step of each balancing bias per update; 0: frozen
  double balance_loss = 1e-4;   ///< alpha: weight of the sequence-wise balance loss; 0: none
  bool routing_replay = false;  ///< RL: the trainer takes the experts that the sampler took
  static ExpertConfig parse(ConfigNode node, ExpertConfig defaults);
};

/// Keeps the experts' loads even over a stage, and says how even they are.
///
/// After an update, for every expert e of a layer with c_e of the step's routed pairs (all micro-batches
/// together):
///
///   b_e += gamma sign(mean_e c - c_e)                                    arXiv:2408.15664 Algorithm 1; V3's
///   e_score_correction_bias
///
/// and in every backward pass alpha / (sequences of the step) sum over sequences and layers of sum_e f_e P_e
/// (ops::sequence_balance). V3 took gamma 0.001, 0 in the last 500B tokens, and alpha 0.0001
/// (arXiv:2412.19437v2 section 4.2).
class ExpertBalance {
 public:
  ExpertBalance(model::Transformer model, ExpertConfig config);

  /// For one micro-batch's forward pass; null for a dense model.
  model::RoutingPtr routing(int64_t sequences_in_step) const;
  /// After its backward pass. Returns the micro-batch's balance loss, 0-dim float64 on the model's device.
  at::Tensor add(const model::RoutingPtr& routing);
  /// After the optimizer's update, of whose micro-batches the balance losses add up to `balance`: moves the biases by the loads of all
  /// ranks and begins a new count. Collective.
  void update_biases(const Sharing& sharing, double balance);
  /// Figures of the updates since the last call (docs/metrics.md); none for a dense model.
  void report(std::vector<std::pair<std::string, double>>& metrics);

  const ExpertConfig& config() const { return config_; }

 private:
  model::Transformer model_;
  ExpertConfig config_;
  std::vector<at::Tensor> step_counts_,
      counts_;  // [expert layer] [E] int64: of this update, and since the last report
  double balance_ = 0;
};

}  // namespace r1::train
