#pragma once
#include <cstdint>

#include "r1/model/transformer.h"

namespace r1::pipeline {

/// Forward and backward of one expert layer (gate, routed and shared experts, as MoeImpl) on N random rows; input, weights
/// and the gradient that comes in are drawn once.
class ExpertsBench {
 public:
  /// Throws Error when the model has no expert layer.
  ExpertsBench(const model::ModelConfig& config, int64_t num_rows);
  void run();

  /// Multiply and add counted apart: 2 N C E for the gate, 6 N C F for each routed or shared expert that a row meets, all
  /// three times.
  double flop() const;
  /// Rows of the busiest expert / mean over the experts: how even the random gate is.
  double load_max() const;

 private:
  model::Transformer model_;
  std::shared_ptr<model::MoeImpl> layer_;
  at::Tensor x_NC_, dy_NC_;
};

}  // namespace r1::pipeline
