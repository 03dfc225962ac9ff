#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace r1::dist {

enum class Reduce { kSum, kMax };

/// A collective under way, as a backend hands it to the communicator: nobody else calls it.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Returns when it has ended and the tensors may be used: on a device, by the current stream. Throws what the backend reports.
  virtual void wait() = 0;
};

/// A collective that was begun. Its tensors must stay alive and untouched until wait() has returned; the destructor waits too.
class Pending {
 public:
  Pending() = default;
  explicit Pending(std::unique_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
  ~Pending();
  Pending(Pending&&) noexcept = default;
  Pending& operator=(Pending&& other) noexcept;  ///< waits for what was under way here
  bool running() const { return transfer_ != nullptr; }
  void wait();

 private:
  std::unique_ptr<Transfer> transfer_;
};

/// The ranks that work on one thing together, and what they say to each other.
///
/// Every rank calls the same collectives in the same order with matching shapes. Tensors are dense and contiguous, of float32,
/// float64, bfloat16, int64 or uint8 (sums: not uint8), on the CPU over MPI, on the rank's GPU over NCCL. `what` names the tensor or
/// the purpose: with the phase it is what a rank reports when a peer is missing ("all_reduce of 'gradients' (float32, 270 MB), number
/// 1,204, phase 'backward'"). It must be the same on every rank: ranks that say different things at one number have lost step with
/// each other, and the watch ends the job (launch.h).
///
/// Counts are elements, one for each rank, zeros included; all ranks know the same counts unless said otherwise.
///
/// Sums: of one rank count and one kind of machine the order is fixed, never that of arrival; the same for every number of ranks is
/// what train::GradientTree does with all_to_all.
///
/// With one rank every call copies at most, and costs nothing else.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  bool alone() const { return size_ == 1; }
  bool is_first() const { return rank_ == 0; }
  at::Device device() const { return device_; }  ///< where tensors must lie

  // Each begins; `.wait()` ends. Whoever has nothing to do in between writes comm.all_reduce(x, ...).wait().

  /// x <- sum or maximum over the ranks of x, in place.
  [[nodiscard]] Pending all_reduce(const at::Tensor& x, Reduce op, std::string_view what);
  /// x <- root's x, in place.
  [[nodiscard]] Pending broadcast(const at::Tensor& x, int root, std::string_view what);
  /// out[counts[rank]] <- the sum over ranks of their in[sum(counts)], this rank's part of it. 1-D.
  [[nodiscard]] Pending reduce_scatter(const at::Tensor& in, const std::vector<int64_t>& counts, const at::Tensor& out,
                                       std::string_view what);
  /// out[sum(counts)] <- the ranks' in[counts[rank]] one behind the other. 1-D. `in` may be its own place in `out`.
  [[nodiscard]] Pending all_gather(const at::Tensor& in, const std::vector<int64_t>& counts, const at::Tensor& out,
                                   std::string_view what);
  /// in: send_counts[r] elements for rank r one behind the other; out: receive_counts[r] elements from rank r. 1-D. A rank knows its
  /// own counts alone.
  [[nodiscard]] Pending all_to_all(const at::Tensor& in, const std::vector<int64_t>& send_counts, const at::Tensor& out,
                                   const std::vector<int64_t>& receive_counts, std::string_view what);

  void barrier(std::string_view what);

  /// Every rank's bytes on every rank, of any lengths.
  std::vector<std::string> all_gather_bytes(const std::string& mine, std::string_view what);
  /// Root's bytes on every rank; the others' argument is ignored.
  std::string broadcast_bytes(const std::string& bytes, int root, std::string_view what);

  /// Runs `work` on every rank and lets none go on alone: when it throws r1::Error on some rank, it throws on all of them, there what
  /// was thrown, elsewhere FailedElsewhere with "rank 2: <its message>", which programs do not print again.
  void together(std::string_view what, const std::function<void()>& work);

  /// Names what this rank does from now on, for its peers' messages: "rollout", "backward". Cheap.
  virtual void set_phase(std::string_view phase) = 0;

  /// The next piece of [0, total) that no rank has taken yet, of at most `size`; empty (begin == end) when all are taken. `round` is a
  /// number of this division of work, the same on every rank and never used twice; ranks come when they have time, so who gets what
  /// is not reproducible and no result may depend on it.
  struct Piece {
    int64_t begin = 0, end = 0;
  };
  virtual Piece take(int64_t round, int64_t total, int64_t size) = 0;
  int64_t next_round() { return rounds_++; }  ///< the same on all ranks when all call it alike

  /// The ranks of one colour as a communicator of their own, in order of their ranks here. Collective.
  virtual std::shared_ptr<Communicator> split(int colour, std::string_view name) = 0;

 protected:
  Communicator(int rank, int size, at::Device device = at::kCPU) : rank_(rank), size_(size), device_(device) {}

  /// One collective, checked.
  struct Call {
    enum class Kind { kAllReduce, kBroadcast, kReduceScatter, kAllGather, kAllToAll, kBarrier };
    Call(Kind kind, at::Tensor in, std::string_view what) : kind(kind), in(std::move(in)), what(what) {}
    Kind kind;
    at::Tensor in, out;  ///< all_reduce, broadcast: `in` alone; barrier: none
    Reduce op = Reduce::kSum;
    int root = 0;
    std::vector<int64_t> counts, receive_counts;
    std::string what;
  };
  /// Called unless copies(), and when there is something to send. Null: it was done at once.
  virtual std::unique_ptr<Transfer> begin(Call call) = 0;
  /// Whether a collective is a copy at most, there being nobody to talk to.
  virtual bool copies() const { return alone(); }

 private:
  Pending start(Call call);
  void check(const Call& call) const;
  int rank_, size_;
  at::Device device_;
  int64_t rounds_ = 0;
};

/// Another rank failed in Communicator::together; its own program says why.
struct FailedElsewhere {
  std::string message;
};

/// One rank, nobody to talk to.
std::shared_ptr<Communicator> single();

/// Name of a kind of collective: "all_reduce".
const char* kind_name(int kind);

}  // namespace r1::dist
