#include "watched_communicator.h"

#include <exception>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"

namespace r1::dist {
namespace {

std::string decimal_bytes(int64_t bytes) {
  char text[32];
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1000 && unit < 4; ++unit) value /= 1000;
  std::snprintf(text, sizeof text, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, units[unit]);
  return text;
}

const char* dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kBFloat16: return "bfloat16";
    case at::kLong: return "int64";
    default: return "uint8";
  }
}

/// The backend's transfer, with the board told about it.
class WatchedTransfer final : public Transfer {
 public:
  WatchedTransfer(std::shared_ptr<Session> session, int group, int64_t number, std::unique_ptr<Transfer> transfer)
      : session_(std::move(session)), group_(group), number_(number), transfer_(std::move(transfer)) {}

  void wait() override {
    auto& board = StatusBoard::of_process();
    board.wait(group_, number_);
    try {
      transfer_->wait();
    } catch (const std::exception& error) {
      session_->explain_failure();  // a lost peer is the likely reason, and the watch says it better
      throw Error(cat("a collective failed: ", error.what()));
    }
    board.end(group_, number_);
  }

 private:
  std::shared_ptr<Session> session_;
  int group_;
  int64_t number_;
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
  const auto kind = kind_name(static_cast<int>(call.kind));
  std::string text;
  if (call.kind == Call::Kind::kBarrier) {
    text = cat("barrier '", call.what, "'");
  } else if (call.kind == Call::Kind::kAllToAll) {
    text = cat(kind, " of '", call.what, "' (", dtype_name(call.in.scalar_type()), ")");
  } else {
    const auto& all = call.kind == Call::Kind::kAllGather ? call.out : call.in;
    text = cat(kind, " of '", call.what, "' (", with_commas(all.numel()), " x ", dtype_name(all.scalar_type()), ", ",
               decimal_bytes(static_cast<int64_t>(all.nbytes())), call.op == Reduce::kMax ? ", maximum" : "",
               call.kind == Call::Kind::kBroadcast ? cat(", from rank ", call.root) : "", ")");
  }
  const std::lock_guard lock(order_);
  const auto number = StatusBoard::of_process().begin(group_, text);
  return std::make_unique<WatchedTransfer>(session_, group_, number, launch(std::move(call), number));
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
