#include "r1/ops/devices.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <torch/cuda.h>

#include "device.h"

namespace r1::ops {

bool on_device(const at::Tensor& x) { return device::on_device(x); }

void prepare(at::Device device) {
  if (device.is_cuda()) at::globalContext().setAllowBF16ReductionCuBLAS(false);
}

void synchronize(at::Device device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

// From pageable memory the driver takes the bytes before the call returns, so the host's tensor may die at once.
at::Tensor to_device(const at::Tensor& x, at::Device device) { return x.to(device, /*non_blocking=*/device.is_cuda()); }

}  // namespace r1::ops
