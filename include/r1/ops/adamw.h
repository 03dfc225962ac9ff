#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/adamw/adamw_cuda.h"

namespace r1::ops {

/// AdamW of many parameters on a device: two launches for the gradient's norm, one for the step (kernels/adamw/adamw_cuda.h has
/// the equations).
class DeviceAdamW {
 public:
  static constexpr int64_t kChunk = kernels::cuda::kAdamWChunk;

  /// One parameter; all contiguous and on one device.
  struct Parameter {
    at::Tensor master, gradient, exp_avg, exp_avg_sq;  ///< float32, of one shape
    at::Tensor copy;                                   ///< bf16, of the same shape: written by each step
    bool decays = true;
  };

  /// Keeps the tensors: their storage must not change as long as this lives.
  explicit DeviceAdamW(std::vector<Parameter> parameters);

  /// [chunks] float64 on the device: the sums of squares of kChunk elements of the gradients each, in the order of the parameters. Ranks
  /// may have a part of them each: what norm_of makes of all of them is the same bits whoever has summed which.
  at::Tensor gradient_squares() const;
  /// [2] float32 on the device: the L2 norm of what has these squares, and the factor min(1, max_norm / (norm + 1e-6)), 1 for max_norm 0.
  static at::Tensor norm_of(const at::Tensor& squares, double max_norm);
  /// Applies factor * gradients, the factor that of norm_of()'s result.
  void step(const kernels::cuda::AdamWStep& step, const at::Tensor& norm_and_factor) const;

 private:
  std::vector<Parameter> parameters_;
  at::Tensor table_, chunks_;  ///< AdamWTensor and AdamWChunk as int64, on the device
};

}  // namespace r1::ops
