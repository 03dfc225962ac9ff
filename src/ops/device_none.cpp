// In place of device_*.cpp in a build without CUDA: no tensor is on a device, so nothing below is ever called.
#include "device.h"
#include "r1/ops/kernel_cases.h"

namespace r1::ops::device {

using torch::Tensor;

namespace {

struct Absent {  // whatever an operation returns
  template <class T>
  operator T() const {
    TORCH_INTERNAL_ASSERT(false, "a device's operation in a build without CUDA");
  }
};

}  // namespace

bool on_device(const Tensor&) { return false; }

Tensor linear(const Tensor&, const Tensor&, const Tensor&) { return Absent{}; }
Tensor rms_norm(const Tensor&, const Tensor&, double) { return Absent{}; }
Tensor silu_mul(const Tensor&, const Tensor&) { return Absent{}; }
Tensor rope(const Tensor&, const Tensor&, const Tensor&, const Tensor&) { return Absent{}; }
Tensor embedding(const Tensor&, const Tensor&) { return Absent{}; }
std::tuple<Tensor, Tensor> linear_logprob(const Tensor&, const Tensor&, const Tensor&, double) {
  return Absent{}.operator std::tuple<Tensor, Tensor>();
}
Routes moe_gate(const Tensor&, const Tensor&, const GateRule&, const Tensor&) { return Absent{}; }
Tensor expert_mlp(const Tensor&, const Tensor&, const Tensor&, const std::vector<ExpertWeights>&) { return Absent{}; }

}  // namespace r1::ops::device

namespace r1::ops {

std::vector<KernelCaseMaker> device_kernel_cases(at::Device, CaseSize) { return {}; }

}  // namespace r1::ops
