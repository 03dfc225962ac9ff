#include "watched_communicator.h"

#include <exception>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"

namespace r1::dist {
namespace {

const char* dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kBFloat16: return "bfloat16";
    case at::kLong: return "int64";
    default: return "uint8";
  }
}

// "all_reduce of 'gradients' (67,500,000 x float32, 270 MB)". By snprintf: streams would cost more than a small collective.
std::string describe(const char* kind, const at::Tensor& x, bool same_everywhere, Reduce op, int root, const std::string& what) {
  char text[320];
  const auto length = std::min<int>(static_cast<int>(what.size()), 200);
  if (!x.defined()) {
    std::snprintf(text, sizeof text, "%s '%.*s'", kind, length, what.c_str());
    return text;
  }
  const char* dtype = dtype_name(x.scalar_type());
  if (!same_everywhere) {
    std::snprintf(text, sizeof text, "%s of '%.*s' (%s)", kind, length, what.c_str(), dtype);
    return text;
  }
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto size = static_cast<double>(x.nbytes());
  int unit = 0;
  for (; size >= 1000 && unit < 4; ++unit) size /= 1000;
  char from_root[32] = "";
  if (root >= 0) std::snprintf(from_root, sizeof from_root, ", from rank %d", root);
  std::snprintf(text, sizeof text, "%s of '%.*s' (%s x %s, %.*f %s%s%s)", kind, length, what.c_str(), with_commas(x.numel()).c_str(), dtype,
                size < 10 && unit > 0 ? 1 : 0, size, kUnits[unit], op == Reduce::kMax ? ", maximum" : "", from_root);
  return text;
}

/// The backend's transfer, with the board told about it.
class WatchedTransfer final : public Transfer {
 public:
  WatchedTransfer(std::shared_ptr<Session> session, int group, int64_t number, bool ends_by_itself, std::unique_ptr<Transfer> transfer)
      : session_(std::move(session)), group_(group), number_(number), ends_by_itself_(ends_by_itself), transfer_(std::move(transfer)) {}

  void wait() override {
    auto& board = StatusBoard::of_process();
    if (!ends_by_itself_) board.wait(group_, number_);
    try {
      transfer_->wait();
    } catch (const std::exception& error) {
      session_->explain_failure();  // a lost peer is the likely reason, and the watch says it better
      throw Error(cat("a collective failed: ", error.what()));
    }
    if (!ends_by_itself_) board.end(group_, number_);
  }

 private:
  std::shared_ptr<Session> session_;
  int group_;
  int64_t number_;
  bool ends_by_itself_;
  std::unique_ptr<Transfer> transfer_;
};

}  // namespace

WatchedCommunicator::WatchedCommunicator(std::shared_ptr<Session> session, int rank, int size, at::Device device,
                                         const std::string& name)
    : Communicator(rank, size, device),
      session_(std::move(session)),
      name_(name),
      group_(StatusBoard::of_process().add_group(name)),
      exceptions_at_start_(std::uncaught_exceptions()) {}

void WatchedCommunicator::set_phase(std::string_view phase) { StatusBoard::of_process().set_phase(phase); }

std::unique_ptr<Transfer> WatchedCommunicator::begin(Call call) {
  const auto text = describe(kind_name(static_cast<int>(call.kind)), call.kind == Call::Kind::kAllGather ? call.out : call.in,
                             call.kind != Call::Kind::kAllToAll, call.op, call.kind == Call::Kind::kBroadcast ? call.root : -1, call.what);
  const std::lock_guard lock(order_);
  const auto number = StatusBoard::of_process().begin(group_, text);
  return std::make_unique<WatchedTransfer>(session_, group_, number, ends_by_itself(), launch(std::move(call), number));
}

void WatchedCommunicator::as_collective(const std::string& text, const std::function<void()>& work) {
  const std::lock_guard lock(order_);
  auto& board = StatusBoard::of_process();
  const auto number = board.begin(group_, text);
  board.wait(group_, number);
  work();
  board.end(group_, number);
}

std::string WatchedCommunicator::name_of_part(std::string_view name, int colour) {
  const int count = ++splits_[std::string(name)];
  return cat(name, " ", colour, count > 1 ? cat(" #", count) : "");
}

bool WatchedCommunicator::leave() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    session_->fail();
    return false;
  }
  try {
    barrier("end of the job");
    session_->leave();
    return true;
  } catch (const std::exception&) {
    session_->fail();
    return false;
  }
}

Communicator::Piece WatchedCommunicator::take(int64_t round, int64_t total, int64_t size) {
  TORCH_CHECK(size > 0, "take: pieces of ", size, " of ", total);
  const auto end = session_->add(cat("take/", name_, "/", round), size);
  return {std::min(end - size, total), std::min(end, total)};
}

}  // namespace r1::dist
