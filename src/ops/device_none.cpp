// In place of device_*.cpp in a build without CUDA: no tensor is on a device, so nothing below is ever called.
#include "device.h"
#include "r1/ops/adamw.h"
#include "r1/ops/device_decode.h"
#include "r1/ops/devices.h"
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
Tensor attention(const Tensor&, const Tensor&, const Tensor&, const PackedLayout&, double) { return Absent{}; }
Tensor embedding(const Tensor&, const Tensor&) { return Absent{}; }
std::tuple<Tensor, Tensor> linear_logprob(const Tensor&, const Tensor&, const Tensor&, double) {
  return Absent{}.operator std::tuple<Tensor, Tensor>();
}
Routes moe_gate(const Tensor&, const Tensor&, const GateRule&, const Tensor&) { return Absent{}; }
Tensor expert_mlp(const Tensor&, const Tensor&, const Tensor&, const std::vector<ExpertWeights>&) { return Absent{}; }
bool has_paged_attention(const KvStore&) { return false; }
Tensor cached_attention(const Tensor&, const Tensor&, const Tensor&, KvStore&, const DeviceRuns&, double) { return Absent{}; }
SampledTokens sample_tokens(const Tensor&, const std::vector<int64_t>&, const std::vector<double>&, const SamplingRule&) {
  return Absent{};
}

}  // namespace r1::ops::device

namespace r1::ops {

std::shared_ptr<DevicePlans> make_device_plans() { return nullptr; }
std::vector<Gpu> gpus() { return {}; }
std::string why_no_gpu() {
  return "this program was built without CUDA; build it with `scripts/build.sh cuda` on a machine with the CUDA toolkit";
}

DeviceAdamW::DeviceAdamW(std::vector<Parameter>) { TORCH_INTERNAL_ASSERT(false, "a device's optimizer in a build without CUDA"); }
at::Tensor DeviceAdamW::gradient_squares() const { return {}; }
at::Tensor DeviceAdamW::norm_of(const at::Tensor&, double) { return {}; }
void DeviceAdamW::step(const kernels::cuda::AdamWStep&, const at::Tensor&) const {}

void draw_tokens(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&) {
  TORCH_INTERNAL_ASSERT(false, "a device's draws in a build without CUDA");
}

struct LaunchGraph::State {};
LaunchGraph::LaunchGraph() = default;
LaunchGraph::~LaunchGraph() = default;
void LaunchGraph::record(at::Device, const std::function<void()>&, const LaunchGraph*) {
  TORCH_INTERNAL_ASSERT(false, "a device's graph in a build without CUDA");
}
void LaunchGraph::replay() {}

struct Fetch::State {};
Fetch::Fetch() = default;
Fetch::~Fetch() = default;
void Fetch::start(const std::vector<std::pair<at::Tensor, at::Tensor>>&) {}
void Fetch::wait() {}
at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType dtype, at::Device) { return torch::zeros(sizes, dtype); }
std::vector<KernelCaseMaker> device_kernel_cases(at::Device, CaseSize) { return {}; }

}  // namespace r1::ops
