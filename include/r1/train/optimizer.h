#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "r1/util/config.h"

namespace r1::train {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// The `optimizer:` section. The learning rate is not in it: see algo::LrSchedule.
struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;   ///< lambda, multiplied by the learning rate
  bool decay_vectors = false;  ///< also decay parameters of one dimension (norm weights, biases)
  double max_grad_norm = 1.0;  ///< global L2 norm above which gradients are scaled down; 0: never

  /// Keys as the fields. Throws Error with file:line:key.
  static AdamWConfig parse(ConfigNode node);
};

/// What one step did.
struct OptimizerStep {
  double grad_norm = 0.0;       ///< global L2 norm before clipping
  double gradient_scale = 1.0;  ///< min(1, max_grad_norm / (grad_norm + 1e-6)), as torch's clip_grad_norm_
  bool applied = false;         ///< false: a gradient is NaN or infinite, and nothing was changed
};

/// AdamW with decoupled weight decay. Step t = 1, 2, ... with gradient g (already scaled):
///
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   p = (1 - lr lambda) p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
///
/// lambda is 0 for parameters of fewer than two dimensions unless decay_vectors.
///
/// One multi-threaded pass over all parameters, in chunks of kChunk elements. The gradient norm is summed in
/// float64 per chunk, then per tensor, then over tensors, in an order that depends on the shapes alone: the
/// same bits for any number of threads. A parameter without a gradient counts as one with a gradient of zero
/// (torch.optim skips it): whether it has none or zeros depends on how the batch was split. Source: AdamW
/// (arXiv:1711.05101) algorithm 2, with the schedule inside lr as torch.optim.AdamW.
///
/// On a CPU the parameters are float32 and are what is updated. On a device p is a float32 master: the constructor takes the
/// values it is given as masters and turns each parameter into a bf16 copy, which every step writes anew. Gradients are added up
/// in float32, each as soon as a backward pass has made it, so that no bf16 sum loses the small ones of many micro-batches and
/// none is kept twice: 18 bytes a parameter (copy 2, master 4, m 4, v 4, gradient 4).
class AdamW {
 public:
  static constexpr int64_t kChunk = 1 << 16;  ///< elements

  /// Keeps handles to `parameters` (name, value): their storage is updated in place. Those with requires_grad
  /// = false are left out. m and v start at zero. Throws c10::Error unless every one is a contiguous float32 CPU leaf, or a float32
  /// or bf16 leaf on a device, with a name of its own.
  AdamW(NamedTensors parameters, const AdamWConfig& config);
  ~AdamW();
  AdamW(AdamW&&) noexcept;
  AdamW& operator=(AdamW&&) = delete;

  /// sqrt(sum of squares) of all gradients, before clipping. NaN or infinite when a gradient is.
  double grad_norm() const;

  /// What the next step would apply before clipping: the parameters' gradients, or on a device their float32 sums, which share
  /// storage with the optimizer: adding the other ranks' to them is all that data parallelism takes.
  NamedTensors gradients() const;

  /// Clips and applies the gradients with this learning rate; leaves them in place. On a device it waits once, for the norm.
  OptimizerStep step(double lr);

  void zero_grad();  ///< drops the gradients, which frees their memory

  /// `tensors` with the float32 master in place of each of its parameters, by name: what checkpoints hold on every kind of device.
  NamedTensors with_masters(NamedTensors tensors) const;
  /// Makes the bf16 copies anew, after masters were written from outside.
  void refresh_copies();

  int64_t num_steps() const { return num_steps_; }
  int64_t state_bytes() const;  ///< of m and v

  /// All that the next step depends on besides the parameters: "<name>.exp_avg", "<name>.exp_avg_sq"
  /// (float32, shape of the parameter, sharing storage with the optimizer) and "step" (int64, 0-dim).
  NamedTensors state() const;

  /// Copies a state() back. Throws Error for a tensor that is missing, superfluous or of another shape or
  /// dtype, naming it and both shapes; nothing is changed then.
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter, exp_avg, exp_avg_sq;
    bool decays;
    at::Tensor master;  // float32, detached: the parameter itself on a CPU
  };
  struct Chunk {
    size_t slot;
    int64_t begin, count;  ///< elements
  };

  std::vector<at::Tensor> contiguous_gradients() const;
  double norm_of(const std::vector<at::Tensor>& gradients) const;
  struct OnDevice;  // gradient sums and the table of pointers
  OptimizerStep step_on_device(double lr);
  void begin_on_device();

  AdamWConfig config_;
  std::vector<Slot> slots_;
  std::vector<Chunk> chunks_;
  int64_t num_steps_ = 0;
  std::unique_ptr<OnDevice> device_;  // null on a CPU
};

}  // namespace r1::train
