#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "r1/train/sharing.h"
#include "r1/util/config.h"

namespace r1::train {

class GradientExchange;

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

/// Elements [begin, begin + values.numel()) of a tensor that lies in pieces on several ranks, row-major: a rank's share of an
/// optimizer's state under ZeRO-1 (arXiv:1910.02054), of a weight that belongs to an expert. Together the ranks' slices of a name cover
/// the tensor; the same slice on several ranks is one, written by one of them.
struct TensorSlice {
  std::string name;
  std::vector<int64_t> shape;  ///< of the whole tensor, the same on every rank
  int64_t begin = 0;           ///< element
  at::Tensor values;           ///< 1-D, any device; none for a rank without a share
};

/// Named tensors of which some lie in slices over the ranks: these are undefined, and this rank's slices of them are beside them.
struct TensorParts {
  NamedTensors tensors;
  std::vector<TensorSlice> slices = {};
};

/// Of the parameters of experts that are dealt over ranks, by name: the leaves that have the gradients of each source rank's tokens, or,
/// where these are added up as they come, the parameter itself (model::MoeImpl::leaves).
using ExpertLeaves = std::map<std::string, std::vector<at::Tensor>>;

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
/// Over ranks (Sharing): a step's micro-batches are dealt, their gradients added up while backward runs (gradient_exchange.h), and
/// every rank ends the step with the same bits. With ZeRO-1 a rank keeps m and v of its own chunks alone (on a
/// device the masters too), updates these, and the parameters are gathered; the bits are those of plain data parallelism. A step is
///
///   const auto mine = optimizer.begin_step(num_micro_batches);
///   for each of mine: optimizer.before_backward(i); loss.backward(); optimizer.after_backward(i);
///   optimizer.step(lr);
///
/// or, where the gradients are the whole step's already, zero_grad(), backward() and step(lr).
///
/// Where experts are dealt over ranks (Sharing::experts), `parameters` names all of the model's in order, undefined where other ranks
/// have them, and all ranks make num_passes() passes (sharing.h): a rank whose micro-batches have run out goes on with empty ones, numbered on.
/// The gradient norm is the whole model's, the same on all ranks of the job.
///
/// On a CPU the parameters are float32 and are what is updated. On a device p is a float32 master: the constructor takes the
/// values it is given as masters and turns each parameter into a bf16 copy, which every step writes anew. Gradients are added up
/// in float32, each as soon as a backward pass has made it, so that no bf16 sum loses the small ones of many micro-batches and
/// none is kept twice: 18 bytes a parameter (copy 2, master 4, m 4, v 4, gradient 4). With ZeRO-1 over R ranks 6 + 12 / R: a rank has
/// masters of its own chunks alone too, and the copies are gathered.
class AdamW {
 public:
  static constexpr int64_t kChunk = 1 << 16;  ///< elements

  /// Keeps handles to `parameters` (name, value): their storage is updated in place. Those with requires_grad
  /// = false are left out. m and v start at zero. Throws c10::Error unless every one is a contiguous float32 CPU leaf, or a float32
  /// or bf16 leaf on a device, with a name of its own.
  /// `overlap`: gradients leave within backward; at most one of the optimizers that share the ranks, and the first to step.
  /// `experts`: of parameters of this rank's experts; others are not looked at.
  AdamW(NamedTensors parameters, const AdamWConfig& config, const Sharing& sharing = {}, bool overlap = true, const ExpertLeaves& experts = {});
  ~AdamW();
  AdamW(AdamW&&) noexcept;
  AdamW& operator=(AdamW&&) = delete;

  /// Drops the gradients. Returns the micro-batches that this rank computes of so many.
  Share begin_step(int64_t micro_batches);
  void before_backward(int64_t micro_batch);
  void after_backward(int64_t micro_batch);
  /// Ends the exchange of the step's gradients; step() does it too. Before any other collective of these ranks.
  void finish_gradients();

  /// sqrt(sum of squares) of all gradients, before clipping. NaN or infinite when a gradient is. Ends the step's exchange.
  double grad_norm();

  /// What the next step would apply before clipping: the parameters' gradients, or on a device their float32 sums, which share
  /// storage with the optimizer: adding the other ranks' to them is all that data parallelism takes. With ZeRO-1 of own chunks alone.
  NamedTensors gradients();

  /// Clips and applies the gradients with this learning rate; leaves them in place. On a device it waits once, for the norm.
  OptimizerStep step(double lr);

  void zero_grad();  ///< drops the gradients, which frees their memory

  /// `parts` with the float32 master in place of each of its parameters, by name, sharing storage with the
  /// optimizer: what a checkpoint's values go into. With ZeRO-1 on a device this rank's slices of it.
  TensorParts with_masters(TensorParts parts) const;
  /// The same for a checkpoint of which other programs read the weights, so each master whole. With ZeRO-1 on a device collective: a
  /// parameter's pieces come together on one of the ranks, on the CPU, whose slice is then all of it; 4 / R bytes a parameter.
  TensorParts with_whole_masters(TensorParts parts) const;
  /// Makes the bf16 copies anew, after masters were written from outside. With ZeRO-1 on a device collective.
  void refresh_copies();

  int64_t num_steps() const { return num_steps_; }
  int64_t state_bytes() const;  ///< of m and v, on this rank
  double exposed_s() const;     ///< so far: time in the exchange of gradients and parameters that no computing has hidden

  /// All that the next step depends on besides the parameters: "<name>.exp_avg", "<name>.exp_avg_sq"
  /// (float32, shape of the parameter, sharing storage with the optimizer) and "step" (int64, 0-dim). Without what is in slices.
  NamedTensors state() const;
  /// This rank's part of what ranks have between them, sharing storage with the optimizer: with ZeRO-1 all but "step", else the moments
  /// of experts that are dealt.
  std::vector<TensorSlice> state_slices() const;

  /// Copies a state() of whole tensors back, whatever rank count it was saved with. Throws Error for a tensor that is missing, superfluous or of another shape or
  /// dtype, naming it and both shapes; nothing is changed then.
  void load_state(const NamedTensors& state);

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter, exp_avg, exp_avg_sq;  // undefined: another rank's; moments also with ZeRO-1
    bool decays = false;
    at::Tensor master = {};  // float32, detached: the parameter itself on a CPU; undefined with ZeRO-1 on a device
    bool is_expert = false;  // of experts that are dealt, here or elsewhere
  };
  // Parameters whose gradients are added up over the same ranks: all ranks, or those with the same experts.
  struct Shared {
    std::vector<size_t> slots;
    std::unique_ptr<GradientExchange> exchange;
  };
  // Of a parameter; neighbours are one behind the other.
  struct Chunk {
    size_t slot;
    int64_t begin, count;
    bool own;              // updated by this rank
    int64_t shard_begin;   // ZeRO-1: in shard_avg_, and on a device in the shard of masters
  };
  // m and v of a chunk.
  struct Moments {
    float *exp_avg, *exp_avg_sq;
  };

  void add_shared(std::vector<size_t> slots, const Sharing& sharing, bool overlap, const ExpertLeaves& experts);
  void make_moments();
  Moments moments(const Chunk& chunk) const;
  std::vector<Chunk> own_slices() const;  // with ZeRO-1: neighbours of a parameter as one
  std::vector<at::Tensor> contiguous_gradients() const;
  double norm_of(const std::vector<at::Tensor>& gradients) const;
  struct OnDevice;  // gradient sums and the table of pointers
  OptimizerStep step_on_device(double lr);
  void begin_on_device();

  AdamWConfig config_;
  std::vector<Slot> slots_;
  Sharing sharing_;
  std::vector<Shared> shared_;
  std::vector<Chunk> chunks_;            // of all shared_, in order
  at::Tensor shard_avg_, shard_avg_sq_;  // ZeRO-1: of this rank's chunks, one behind the other
  int64_t num_steps_ = 0;
  int64_t first_ = 0;  // micro-batch of this rank in this step
  std::unique_ptr<OnDevice> device_;  // null on a CPU
};

}  // namespace r1::train
