#include "r1/dist/communicator.h"

#include <ATen/Functions.h>

#include <cstring>
#include <numeric>

#include "r1/util/strings.h"

namespace r1::dist {
namespace {

int64_t sum(const std::vector<int64_t>& counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

bool can_be_sent(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || type == at::kBFloat16 || type == at::kLong || type == at::kByte;
}

at::Tensor bytes_tensor(const std::string& bytes, at::Device device) {
  auto tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor.to(device);
}

std::string bytes_of(const at::Tensor& tensor, int64_t begin, int64_t count) {
  return std::string(static_cast<const char*>(tensor.data_ptr()) + begin, static_cast<size_t>(count));
}

}  // namespace

const char* kind_name(int kind) {
  constexpr const char* kNames[] = {"all_reduce", "broadcast", "reduce_scatter", "all_gather", "all_to_all", "barrier"};
  TORCH_CHECK(kind >= 0 && kind < 6, "no kind of collective has number ", kind);
  return kNames[kind];
}

void Pending::wait() {
  if (const auto transfer = std::move(transfer_)) transfer->wait();
}

Pending::~Pending() {
  try {
    wait();
  } catch (...) {  // nobody looks at its tensors any more; the watch reports what is wrong with a peer
  }
}

Pending& Pending::operator=(Pending&& other) noexcept {
  if (this != &other) {
    const Pending before(std::move(transfer_));
    transfer_ = std::move(other.transfer_);
  }
  return *this;
}

void Communicator::check(const Call& call) const {
  const auto name = kind_name(static_cast<int>(call.kind));
  const auto check_tensor = [&](const at::Tensor& x, const char* which, bool flat) {
    TORCH_CHECK(x.defined(), name, " of '", call.what, "': ", which, " is undefined");
    TORCH_CHECK(x.device() == device_, name, " of '", call.what, "': ", which, " lies on ", x.device(), "; accepted: ", device_);
    TORCH_CHECK(can_be_sent(x.scalar_type()), name, " of '", call.what, "': ", which, " is ", x.scalar_type(),
                "; accepted: float32, float64, bfloat16, int64, uint8");
    TORCH_CHECK(x.is_contiguous() && (!flat || x.dim() == 1), name, " of '", call.what, "': ", which, " has sizes ", x.sizes(),
                " and strides ", x.strides(), "; accepted: ", flat ? "1-D, contiguous" : "contiguous");
  };
  const auto check_counts = [&](const std::vector<int64_t>& counts, const at::Tensor& x, const char* which) {
    TORCH_CHECK(static_cast<int>(counts.size()) == size_, name, " of '", call.what, "': ", counts.size(), " counts for ", size_, " ranks");
    for (const auto count : counts) TORCH_CHECK(count >= 0, name, " of '", call.what, "': a count is ", count);
    TORCH_CHECK(sum(counts) == x.numel(), name, " of '", call.what, "': the counts add up to ", sum(counts), ", and ", which, " has ",
                x.numel(), " elements");
  };
  const auto check_own = [&](const at::Tensor& x, const char* which) {
    TORCH_CHECK(x.numel() == call.counts[rank_], name, " of '", call.what, "': counts[", rank_, "] is ", call.counts[rank_], ", and ", which,
                " has ", x.numel(), " elements");
  };

  using Kind = Call::Kind;
  const bool two = call.kind == Kind::kReduceScatter || call.kind == Kind::kAllGather || call.kind == Kind::kAllToAll;
  check_tensor(call.in, two ? "`in`" : "the tensor", two);
  if (two) {
    check_tensor(call.out, "`out`", true);
    TORCH_CHECK(call.in.scalar_type() == call.out.scalar_type(), name, " of '", call.what, "': `in` is ", call.in.scalar_type(),
                ", `out` ", call.out.scalar_type());
  }
  if (call.kind == Kind::kReduceScatter || (call.kind == Kind::kAllReduce && call.op == Reduce::kSum)) {
    TORCH_CHECK(call.in.scalar_type() != at::kByte, name, " of '", call.what, "': sums of uint8 overflow; use int64");
  }
  if (call.kind == Kind::kBroadcast) {
    TORCH_CHECK(call.root >= 0 && call.root < size_, "broadcast of '", call.what, "': root ", call.root, " of ", size_, " ranks");
  }
  if (call.kind == Kind::kReduceScatter) {
    check_counts(call.counts, call.in, "`in`");
    check_own(call.out, "`out`");
  } else if (call.kind == Kind::kAllGather) {
    check_counts(call.counts, call.out, "`out`");
    check_own(call.in, "`in`");
  } else if (call.kind == Kind::kAllToAll) {
    check_counts(call.counts, call.in, "`in`");
    check_counts(call.receive_counts, call.out, "`out`");
    if (alone()) check_own(call.out, "`out`");
  }
}

Pending Communicator::start(Call call) {
  if (call.kind != Call::Kind::kBarrier) check(call);
  if (copies()) {
    if (call.out.defined() && call.out.numel() > 0 && call.out.data_ptr() != call.in.data_ptr()) call.out.copy_(call.in);
    return {};
  }
  // All ranks see these counts, so all of them leave it out. Not all_to_all: a rank knows its own counts alone.
  using Kind = Call::Kind;
  const bool whole = call.kind == Kind::kAllReduce || call.kind == Kind::kBroadcast;
  const bool parts = call.kind == Kind::kReduceScatter || call.kind == Kind::kAllGather;
  if ((whole && call.in.numel() == 0) || (parts && sum(call.counts) == 0)) return {};
  return Pending(begin(std::move(call)));
}

Pending Communicator::all_reduce(const at::Tensor& x, Reduce op, std::string_view what) {
  Call call(Call::Kind::kAllReduce, x, what);
  call.op = op;
  return start(std::move(call));
}

Pending Communicator::broadcast(const at::Tensor& x, int root, std::string_view what) {
  Call call(Call::Kind::kBroadcast, x, what);
  call.root = root;
  return start(std::move(call));
}

Pending Communicator::reduce_scatter(const at::Tensor& in, const std::vector<int64_t>& counts, const at::Tensor& out,
                                     std::string_view what) {
  Call call(Call::Kind::kReduceScatter, in, what);
  call.out = out;
  call.counts = counts;
  return start(std::move(call));
}

Pending Communicator::all_gather(const at::Tensor& in, const std::vector<int64_t>& counts, const at::Tensor& out,
                                 std::string_view what) {
  Call call(Call::Kind::kAllGather, in, what);
  call.out = out;
  call.counts = counts;
  return start(std::move(call));
}

Pending Communicator::all_to_all(const at::Tensor& in, const std::vector<int64_t>& send_counts, const at::Tensor& out,
                                 const std::vector<int64_t>& receive_counts, std::string_view what) {
  Call call(Call::Kind::kAllToAll, in, what);
  call.out = out;
  call.counts = send_counts;
  call.receive_counts = receive_counts;
  return start(std::move(call));
}

void Communicator::barrier(std::string_view what) { start(Call(Call::Kind::kBarrier, {}, what)).wait(); }

std::vector<std::string> Communicator::all_gather_bytes(const std::string& mine, std::string_view what) {
  const auto options = at::TensorOptions().device(device_);
  const auto lengths = at::empty({size_}, options.dtype(at::kLong));
  all_gather(at::full({1}, static_cast<int64_t>(mine.size()), options.dtype(at::kLong)), std::vector<int64_t>(size_, 1), lengths, what)
      .wait();
  const auto lengths_cpu = lengths.cpu();  // sync: they say how much memory to take
  const std::vector<int64_t> counts(lengths_cpu.data_ptr<int64_t>(), lengths_cpu.data_ptr<int64_t>() + size_);
  const auto all = at::empty({sum(counts)}, options.dtype(at::kByte));
  all_gather(bytes_tensor(mine, device_), counts, all, what).wait();
  const auto all_cpu = all.cpu();  // sync: the bytes are the result
  std::vector<std::string> result;
  int64_t begin = 0;
  for (const auto count : counts) {
    result.push_back(bytes_of(all_cpu, begin, count));
    begin += count;
  }
  return result;
}

std::string Communicator::broadcast_bytes(const std::string& bytes, int root, std::string_view what) {
  const auto length = at::full({1}, static_cast<int64_t>(bytes.size()), at::TensorOptions().dtype(at::kLong).device(device_));
  broadcast(length, root, what).wait();
  const auto count = length.item<int64_t>();  // sync: it says how much memory to take
  const auto all = rank_ == root ? bytes_tensor(bytes, device_) : at::empty({count}, at::TensorOptions().dtype(at::kByte).device(device_));
  broadcast(all, root, what).wait();
  return bytes_of(all.cpu(), 0, count);  // sync: the bytes are the result
}

void Communicator::together(std::string_view what, const std::function<void()>& work) {
  std::exception_ptr error;
  std::string mine;  // empty: done; else "!" and the message
  try {
    work();
  } catch (const std::exception& thrown) {
    error = std::current_exception();
    mine = cat("!", thrown.what());
  }
  const auto all = alone() ? std::vector<std::string>{mine} : all_gather_bytes(mine, what);
  if (error) std::rethrow_exception(error);
  for (int r = 0; r < size_; ++r) {
    if (!all[r].empty()) throw FailedElsewhere{cat("rank ", r, ": ", all[r].substr(1))};
  }
}

}  // namespace r1::dist
