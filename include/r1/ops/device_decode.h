#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/sampling/sampling_cuda.h"
#include "r1/ops/sampling.h"
#include "r1/util/random.h"

// What decoding on a device is made of beside the model: draws that stay there, launches that are recorded once, and
// results that arrive on the host without holding the device up. A build without CUDA has no device and none of this.
namespace r1::ops {

using kernels::cuda::Draw;

/// The draw of ops::sample_tokens at draw_uniform(key), from row `row`. An idle place has row -1.
Draw make_draw(int64_t row, const SamplingRule& rule, const DrawKey& key);

/// Draws token m by draws_M[m]; of an idle draw nothing is written. Queued: nobody waits.
///   logits_RV [R, V] bf16 or float32;  draws_M [M, sizeof(Draw)] uint8 on the device;  tokens_M int64, logprobs_M float32: written
void draw_tokens(const at::Tensor& logits_RV, const at::Tensor& draws_M, const at::Tensor& tokens_M, const at::Tensor& logprobs_M);

/// Launches on one device, recorded once and repeated at the cost of one: a CUDA graph. They must not look at the host's
/// tensors, and what they read and write on the device must stay where it is.
class LaunchGraph {
 public:
  LaunchGraph();
  ~LaunchGraph();
  LaunchGraph(const LaunchGraph&) = delete;
  LaunchGraph& operator=(const LaunchGraph&) = delete;

  /// Runs `launches` once, so that libraries make what they keep, and once more to record it. Waits for the device.
  /// `shares_memory_with` (may be null) is another graph that never runs at the same time: their temporary tensors share memory.
  void record(at::Device device, const std::function<void()>& launches, const LaunchGraph* shares_memory_with);
  /// Queues what was recorded on the current stream.
  void replay();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Results on their way from a device to the host.
class Fetch {
 public:
  Fetch();
  ~Fetch();
  Fetch(const Fetch&) = delete;
  Fetch& operator=(const Fetch&) = delete;

  /// Queues copies of {on the device, host_buffer()} behind what is queued so far. One start() per wait().
  void start(const std::vector<std::pair<at::Tensor, at::Tensor>>& copies);
  /// Until they have arrived.
  void wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Zeros on the host that `device` reads and writes by itself: page-locked memory.
at::Tensor host_buffer(at::IntArrayRef sizes, at::ScalarType dtype, at::Device device);

}  // namespace r1::ops
