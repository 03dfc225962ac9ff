#define USE_C10D_NCCL
#include "nccl_communicator.h"

#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "mpi_communicator.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"
#include "watched_communicator.h"

namespace r1::dist {
namespace {

using Group = c10::intrusive_ptr<c10d::ProcessGroupNCCL>;
using WorkPointer = c10::intrusive_ptr<c10d::Work>;

class NcclTransfer final : public Transfer {
 public:
  NcclTransfer(WorkPointer work, at::Device device, bool is_barrier) : work_(std::move(work)), device_(device), is_barrier_(is_barrier) {}

  void wait() override {
    work_->wait();  // the current stream waits, not this thread
    // sync: behind a barrier come clocks and files, which know no stream
    if (is_barrier_) c10::cuda::getCurrentCUDAStream(device_.index()).unwrap().synchronize();
  }

 private:
  WorkPointer work_;
  at::Device device_;
  bool is_barrier_;
};

// A collective ends on the GPU while the program is elsewhere, so this looks after them: it tells the board which one the GPU is in
// and since when, which is what the watch's deadline counts.
class GpuProgress {
 public:
  explicit GpuProgress(int group) : group_(group), thread_([this] { loop(); }) {}
  ~GpuProgress() {
    stop_ = true;
    thread_.join();
  }
  void add(int64_t number, WorkPointer work) {
    const std::lock_guard lock(mutex_);
    open_.push_back({number, std::move(work), false});
  }

 private:
  struct Open {
    int64_t number;
    WorkPointer work;
    bool shown;
  };

  void loop() {
    for (; !stop_; std::this_thread::sleep_for(std::chrono::milliseconds(20))) {
      const std::lock_guard lock(mutex_);
      auto& board = StatusBoard::of_process();
      while (!open_.empty() && open_.front().work->isCompleted()) {
        board.end(group_, open_.front().number);
        open_.pop_front();
      }
      if (open_.empty() || open_.front().shown) continue;
      board.wait(group_, open_.front().number);
      open_.front().shown = true;
    }
  }

  const int group_;
  std::mutex mutex_;
  std::deque<Open> open_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

class NcclCommunicator final : public WatchedCommunicator {
 public:
  NcclCommunicator(std::shared_ptr<Session> session, c10::intrusive_ptr<c10d::Store> store, std::shared_ptr<MpiStart> mpi, int rank,
                   int size, at::Device device, const std::string& name, bool of_all)
      : WatchedCommunicator(std::move(session), rank, size, device, name),
        store_(std::move(store)),
        mpi_(std::move(mpi)),
        of_all_(of_all),
        progress_(group()) {
    if (size == 1 && !of_all) return;
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::hours(24 * 365);  // the watch has the deadline, and says more
    group_nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl/" + name, store_), rank, size, options);
  }

  ~NcclCommunicator() override {
    if (!of_all_) return;
    const bool left = leave();
    try {
      if (left) {
        group_nccl_->shutdown();
      } else {
        group_nccl_->abort();
      }
    } catch (const std::exception&) {  // all that was to be said has been said
    }
    if (!left && mpi_) mpi_->abandon();
  }

  std::shared_ptr<Communicator> split(int colour, std::string_view name) override {
    const auto colours = all_gather_bytes(std::to_string(colour), cat("split into '", name, "'"));
    int rank_there = 0, size_there = 0;
    for (int r = 0; r < size(); ++r) {
      if (colours[r] != std::to_string(colour)) continue;
      if (r < rank()) ++rank_there;
      ++size_there;
    }
    return std::make_shared<NcclCommunicator>(session(), store_, nullptr, rank_there, size_there, device(), name_of_part(name, colour), false);
  }

 protected:
  std::unique_ptr<Transfer> launch(Call call, int64_t number) override {
    auto work = enqueue(call);
    progress_.add(number, work);
    return std::make_unique<NcclTransfer>(std::move(work), device(), call.kind == Call::Kind::kBarrier);
  }

  bool ends_by_itself() const override { return true; }
  bool copies() const override { return !group_nccl_; }  // of a part of one rank; all ranks go through NCCL even if there is one

 private:
  WorkPointer enqueue(Call& call) {
    using Kind = Call::Kind;
    std::vector<at::Tensor> one{call.in};
    switch (call.kind) {
      case Kind::kAllReduce: {
        c10d::AllreduceOptions options;
        options.reduceOp = call.op == Reduce::kSum ? c10d::ReduceOp::SUM : c10d::ReduceOp::MAX;
        return group_nccl_->allreduce(one, options);
      }
      case Kind::kBroadcast: {
        c10d::BroadcastOptions options;
        options.rootRank = call.root;
        return group_nccl_->broadcast(one, options);
      }
      case Kind::kReduceScatter: {
        std::vector<at::Tensor> out{call.out};
        std::vector<std::vector<at::Tensor>> parts{call.in.split_with_sizes(call.counts)};
        return group_nccl_->reduce_scatter(out, parts);
      }
      case Kind::kAllGather: {
        std::vector<std::vector<at::Tensor>> parts{call.out.split_with_sizes(call.counts)};
        return group_nccl_->allgather(parts, one);
      }
      case Kind::kAllToAll: return group_nccl_->alltoall_base(call.out, call.in, call.receive_counts, call.counts);
      case Kind::kBarrier:
        if (!barrier_.defined()) barrier_ = at::zeros({1}, at::TensorOptions().dtype(at::kFloat).device(device()));
        one[0] = barrier_;
        return group_nccl_->allreduce(one);
    }
    TORCH_INTERNAL_ASSERT(false);
  }

  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<MpiStart> mpi_;
  bool of_all_;
  at::Tensor barrier_;
  Group group_nccl_;
  GpuProgress progress_;
};

}  // namespace

std::shared_ptr<Communicator> nccl_communicator(std::shared_ptr<Session> session, c10::intrusive_ptr<c10d::Store> store,
                                                std::shared_ptr<MpiStart> mpi, int rank, int size, int local_rank) {
  const int gpus = c10::cuda::device_count();
  if (local_rank >= gpus) {
    throw Error(cat("parallel: this is local rank ", local_rank, " of its machine, which has ", gpus, " GPUs; accepted: a rank for each GPU.\n"
                    "  Start at most ", gpus, " ranks on a machine."));
  }
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(local_rank));
  const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(local_rank));
  return std::make_shared<NcclCommunicator>(std::move(session), std::move(store), std::move(mpi), rank, size, device, "all ranks", true);
}

}  // namespace r1::dist
