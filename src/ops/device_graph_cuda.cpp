// Graphs and copies of a GPU: see device_decode.h.
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/torch.h>

#include "r1/ops/device_decode.h"

namespace r1::ops {

struct LaunchGraph::State {
  at::cuda::CUDAGraph graph;
};

LaunchGraph::LaunchGraph() = default;
LaunchGraph::~LaunchGraph() = default;

void LaunchGraph::record(at::Device device, const std::function<void()>& launches, const LaunchGraph* shares_memory_with) {
  state_ = std::make_unique<State>();
  const c10::cuda::CUDAGuard on_device(device);
  c10::cuda::getCurrentCUDAStream().synchronize();  // sync: once per graph; the recording stream does not see what is queued here
  const auto side = c10::cuda::getStreamFromPool();  // the default stream cannot be recorded
  const c10::cuda::CUDAStreamGuard on_side(side);
  launches();
  side.synchronize();  // sync: once per graph
  const bool shares = shares_memory_with != nullptr && shares_memory_with->state_ != nullptr;
  state_->graph.capture_begin(shares ? shares_memory_with->state_->graph.pool() : at::cuda::MempoolId_t{0, 0},
                              cudaStreamCaptureModeThreadLocal);
  try {
    launches();
  } catch (...) {
    try {
      state_->graph.capture_end();  // else the stream stays in the state of recording
    } catch (...) {                 // what broke the recording is the error to tell
    }
    state_.reset();
    throw;
  }
  state_->graph.capture_end();
}

void LaunchGraph::replay() { state_->graph.replay(); }

struct Fetch::State {
  at::cuda::CUDAEvent arrived;
};

Fetch::Fetch() : state_(std::make_unique<State>()) {}
Fetch::~Fetch() = default;

void Fetch::start(const std::vector<std::pair<at::Tensor, at::Tensor>>& copies) {
  for (const auto& [from, to] : copies) at::Tensor(to).copy_(from, /*non_blocking=*/true);
  state_->arrived.record();
}

void Fetch::wait() { state_->arrived.synchronize(); }

at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device) {
  return torch::zeros(sizes, torch::TensorOptions().dtype(dtype).pinned_memory(device.is_cuda()));
}

}  // namespace r1::ops
