#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "r1/train/sharing.h"

namespace r1::train {

/// Figures of a step's micro-batches, added up in the order of the micro-batches whatever rank computed them: the same bits on any
/// number of ranks, and one wait for the device in a step.
class StepFigures {
 public:
  StepFigures(int64_t micro_batches, int64_t figures, at::Device device);

  /// 0-dim tensors of any dtype on the device, `figures` of them; a micro-batch that nobody sets has zeros.
  void set(int64_t micro_batch, const std::vector<at::Tensor>& values);

  /// Collective: every rank gets what all have set.
  void gather(const Sharing& sharing);

  double sum(int64_t figure) const;
  double max(int64_t figure) const;  ///< of micro-batches, 0 at least

 private:
  at::Tensor values_MF_;  // float64, M micro-batches, F figures
};

}  // namespace r1::train
