// The door to a GPU: see device.h.
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "device.h"
#include "device_call.h"
#include "r1/ops/devices.h"

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

namespace r1::ops {
namespace {

// What cmake/Cuda.cmake compiles for: sm_80, whose code runs on every 8.x, and sm_90a.
bool has_code_for(const cudaDeviceProp& p) { return p.major == 8 || (p.major == 9 && p.minor == 0); }

struct Found {
  std::vector<Gpu> gpus;
  std::string why_none;
};

Found find() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaGetLastError();  // so that the next call of somebody else does not find it
    return {{}, std::string("CUDA finds no GPU (") + (error == cudaSuccess ? "count 0" : cudaGetErrorString(error)) +
                    "); check `nvidia-smi`, the driver, which must be as new as the toolkit, and CUDA_VISIBLE_DEVICES"};
  }
  Found found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p{};
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) continue;
    if (!has_code_for(p)) {
      found.why_none = std::string(p.name) + " has compute capability " + std::to_string(p.major) + "." + std::to_string(p.minor) +
                       "; accepted: 8.x and 9.0, for which the kernels are compiled. Add it to CMAKE_CUDA_ARCHITECTURES";
      break;  // device indices are those of CUDA: a gap would move them
    }
    size_t free = 0, total = 0;
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(i));
    if (cudaMemGetInfo(&free, &total) != cudaSuccess) total = p.totalGlobalMem;
    found.gpus.push_back({p.name, static_cast<int64_t>(total), static_cast<int64_t>(free), p.major, p.minor});
  }
  if (found.gpus.empty() && found.why_none.empty()) found.why_none = "CUDA cannot read the properties of its GPU; check `nvidia-smi`";
  return found;
}

}  // namespace

std::vector<Gpu> gpus() { return find().gpus; }
std::string why_no_gpu() {
  const auto found = find();
  return found.gpus.empty() ? found.why_none : "";
}

}  // namespace r1::ops
