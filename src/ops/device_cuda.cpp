// The door to a GPU: see device.h.
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "device.h"
#include "device_call.h"

namespace r1::ops::device {

bool on_device(const torch::Tensor& x) {
  return x.is_cuda() && (x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat);
}

int compute_capability(const torch::Tensor& x) {
  const auto* properties = at::cuda::getDeviceProperties(x.device().index());
  return properties->major * 10 + properties->minor;
}

struct Call::State {
  explicit State(at::Device device) : guard(device), stream(c10::cuda::getCurrentCUDAStream(device.index()).stream()) {}
  c10::cuda::CUDAGuard guard;
  cudaStream_t stream;
};

// A launch that CUDA refuses throws where it happens (kernels/device/launch.h).
Call::Call(const char* name, const torch::Tensor& place)
    : name_(name), device_(place.device()), state_(std::make_unique<State>(place.device())) {}
Call::~Call() noexcept(false) = default;
cudaStream_t Call::stream() const { return state_->stream; }
void* Call::open(const torch::Tensor& t, Use use) const {
  return use == Use::kRead ? const_cast<void*>(t.const_data_ptr()) : t.mutable_data_ptr();
}

}  // namespace r1::ops::device
