#pragma once
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "r1/dist/communicator.h"

namespace r1::test {

/// Thrown where a rank waits for one that has ended or that called something else: the fault is elsewhere or in the code under test.
struct RanksDisagree : std::logic_error {
  using std::logic_error::logic_error;
};

/// Which ranks of run_ranks still run; wakes those that wait when one ends.
struct ThreadWorld {
  explicit ThreadWorld(int size) : ended(static_cast<size_t>(size)) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> ended;
};

/// One rank of several that are threads of this process. The last one to call a collective carries it out for all, on their own
/// tensors, and sums in order of ranks: between begin and wait() a tensor may change at any moment, as with MPI, and results do not
/// depend on the threads' timing. A call that does not match the other ranks' (kind, name, dtype, sizes), a rank that ended before
/// it, and one that does not come within kDeadline throw RanksDisagree on all.
class ThreadRank : public dist::Communicator {
 public:
  static constexpr std::chrono::seconds kDeadline{120};

  /// What the ranks of one communicator share; `members` are their numbers in the world.
  struct Meeting {
    Meeting(std::shared_ptr<ThreadWorld> world, std::vector<int> members) : world(std::move(world)), members(std::move(members)) {}
    struct Round {
      std::map<int, Call> calls;  // by rank
      bool done = false;
      std::string error;
    };
    struct Taking {
      int64_t total = 0, size = 0, next = 0;
    };
    std::shared_ptr<ThreadWorld> world;
    std::vector<int> members;
    std::map<int64_t, std::shared_ptr<Round>> open;  // by number; done ones are only held by those that wait
    std::map<int64_t, Taking> takings;
    std::map<std::pair<int64_t, int>, std::shared_ptr<Meeting>> children;  // by number of the split and colour
    std::vector<std::string> phases = std::vector<std::string>(members.size());
  };

  ThreadRank(int rank, std::shared_ptr<Meeting> meeting)
      : Communicator(rank, static_cast<int>(meeting->members.size())), meeting_(std::move(meeting)) {}

  void set_phase(std::string_view phase) override {
    const std::lock_guard lock(meeting_->world->mutex);
    meeting_->phases[static_cast<size_t>(rank())] = phase;
  }

  /// What `rank` last set.
  std::string phase_of(int rank) const {
    const std::lock_guard lock(meeting_->world->mutex);
    return meeting_->phases.at(static_cast<size_t>(rank));
  }

  Piece take(int64_t round, int64_t total, int64_t size) override {
    const std::lock_guard lock(meeting_->world->mutex);
    auto& taking = meeting_->takings.try_emplace(round, Meeting::Taking{total, size, 0}).first->second;
    if (taking.total != total || taking.size != size) throw RanksDisagree("take: the ranks ask for different divisions of one round");
    const Piece piece{taking.next, std::min(total, taking.next + size)};
    taking.next = piece.end;
    return piece;
  }

  std::shared_ptr<Communicator> split(int colour, std::string_view name) override {
    const auto colours = all_gather_bytes(std::to_string(colour), "colours of a split");
    std::vector<int> members;
    int rank_there = 0;
    for (size_t r = 0; r < colours.size(); ++r) {
      if (colours[r] != std::to_string(colour)) continue;
      if (static_cast<int>(r) == rank()) rank_there = static_cast<int>(members.size());
      members.push_back(meeting_->members[r]);
    }
    const std::lock_guard lock(meeting_->world->mutex);
    auto& child = meeting_->children[{splits_++, colour}];
    if (!child) child = std::make_shared<Meeting>(meeting_->world, members);
    return std::make_shared<ThreadRank>(rank_there, child);
  }

 protected:
  std::unique_ptr<dist::Transfer> begin(Call call) override {
    std::unique_lock lock(meeting_->world->mutex);
    const int64_t number = next_++;
    auto& place = meeting_->open[number];
    if (!place) place = std::make_shared<Meeting::Round>();
    const auto round = place;
    round->calls.emplace(rank(), std::move(call));
    if (static_cast<int>(round->calls.size()) == size()) {
      meeting_->open.erase(number);
      try {
        carry_out(*round);
      } catch (const std::exception& e) {
        round->error = e.what();
      }
      round->done = true;
      round->calls.clear();
      meeting_->world->changed.notify_all();
    }
    return std::make_unique<Wait>(meeting_, round);
  }

 private:
  struct Wait : dist::Transfer {
    Wait(std::shared_ptr<Meeting> meeting, std::shared_ptr<Meeting::Round> round) : meeting(std::move(meeting)), round(std::move(round)) {}
    void wait() override {
      std::unique_lock lock(meeting->world->mutex);
      std::string absent;
      const auto gone = [&] {
        for (size_t r = 0; r < meeting->members.size(); ++r) {
          if (round->calls.contains(static_cast<int>(r)) || !meeting->world->ended[static_cast<size_t>(meeting->members[r])]) continue;
          absent += " rank " + std::to_string(r) + " (phase '" + meeting->phases[r] + "')";
        }
        return !absent.empty();
      };
      const bool in_time = meeting->world->changed.wait_for(lock, kDeadline, [&] { return round->done || gone(); });
      if (round->done && round->error.empty()) return;
      if (round->done) throw RanksDisagree(round->error);
      const auto& some = *round->calls.begin();
      throw RanksDisagree("rank " + std::to_string(some.first) + " waits in " + text_of(some.second) + (in_time ? ", which these ended without:" : " in vain.") + absent);
    }
    std::shared_ptr<Meeting> meeting;
    std::shared_ptr<Meeting::Round> round;
  };

  static std::string text_of(const Call& call) {
    return std::string(dist::kind_name(static_cast<int>(call.kind))) + " of '" + call.what + "'";
  }

  // Under the world's lock, so that every thread sees what the others wrote before and what is written here after.
  static void carry_out(const Meeting::Round& round) {
    const at::NoGradGuard no_grad;
    std::vector<const Call*> calls;
    for (const auto& [rank, call] : round.calls) calls.push_back(&call);
    const Call& first = *calls[0];
    const auto require = [&](size_t r, bool same, const char* what) {
      if (same) return;
      throw RanksDisagree(std::string("the ranks' collectives differ in ") + what + ": rank 0 " + text_of(first) + ", rank " + std::to_string(r) + " " +
                          text_of(*calls[r]));
    };
    using Kind = Call::Kind;
    const bool counted = first.kind == Kind::kReduceScatter || first.kind == Kind::kAllGather;
    for (size_t r = 0; r < calls.size(); ++r) {
      const Call& call = *calls[r];
      require(r, call.kind == first.kind, "kind");
      require(r, call.what == first.what, "name");
      if (first.kind == Kind::kBarrier) continue;
      require(r, call.in.scalar_type() == first.in.scalar_type(), "dtype");
      require(r, call.op == first.op, "operation");
      require(r, call.root == first.root, "root");
      if (counted) {
        require(r, call.counts == first.counts, "counts");
      } else if (first.kind != Kind::kAllToAll) {
        require(r, call.in.numel() == first.in.numel(), "size");
      }
    }
    switch (first.kind) {
      case Kind::kAllReduce: {
        const at::Tensor total = reduced(calls, first.op);
        for (const Call* call : calls) call->in.copy_(total);
        return;
      }
      case Kind::kBroadcast: {
        const at::Tensor& source = calls.at(static_cast<size_t>(first.root))->in;
        for (const Call* call : calls) {
          if (!call->in.is_same(source)) call->in.copy_(source);
        }
        return;
      }
      case Kind::kReduceScatter: {
        const at::Tensor total = reduced(calls, first.op);
        int64_t begin = 0;
        for (size_t r = 0; r < calls.size(); begin += first.counts[r++]) calls[r]->out.copy_(total.narrow(0, begin, first.counts[r]));
        return;
      }
      case Kind::kAllGather: {
        std::vector<at::Tensor> parts;
        for (const Call* call : calls) parts.push_back(call->in.flatten());
        const at::Tensor all = at::cat(parts);  // a copy: `in` may be a place in `out`
        for (const Call* call : calls) call->out.copy_(all);
        return;
      }
      case Kind::kBarrier: return;
      case Kind::kAllToAll: {
        for (size_t to = 0; to < calls.size(); ++to) {
          int64_t into = 0;
          for (size_t from = 0; from < calls.size(); ++from) {
            const Call& sender = *calls[from];
            const int64_t count = sender.counts.at(to);
            require(from, count == calls[to]->receive_counts.at(from), "counts sent and awaited");
            int64_t begin = 0;
            for (size_t r = 0; r < to; ++r) begin += sender.counts[r];
            calls[to]->out.narrow(0, into, count).copy_(sender.in.narrow(0, begin, count));
            into += count;
          }
        }
        return;
      }
    }
  }

  static at::Tensor reduced(const std::vector<const Call*>& calls, dist::Reduce op) {
    at::Tensor total = calls[0]->in.clone();
    for (size_t r = 1; r < calls.size(); ++r) {
      total = op == dist::Reduce::kSum ? total.add_(calls[r]->in) : at::maximum(total, calls[r]->in);
    }
    return total;
  }

  std::shared_ptr<Meeting> meeting_;
  int64_t next_ = 0, splits_ = 0;
};

/// Runs `body` on `size` ranks, each a thread of its own, and returns when all have ended. What a rank throws ends it; the others, as
/// soon as they wait for it, end with RanksDisagree. Then the lowest rank's exception is thrown here; one that only tells of another
/// rank's failure (FailedElsewhere, RanksDisagree) when there is no other.
inline void run_ranks(int size, const std::function<void(std::shared_ptr<dist::Communicator> ranks)>& body) {
  const auto world = std::make_shared<ThreadWorld>(size);
  std::vector<int> members;
  for (int r = 0; r < size; ++r) members.push_back(r);
  const auto meeting = std::make_shared<ThreadRank::Meeting>(world, members);
  std::vector<std::exception_ptr> causes(members.size()), consequences(members.size());
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      const auto place = static_cast<size_t>(r);
      try {
        body(std::make_shared<ThreadRank>(r, meeting));
      } catch (const RanksDisagree&) {
        consequences[place] = std::current_exception();
      } catch (const dist::FailedElsewhere&) {
        consequences[place] = std::current_exception();
      } catch (...) {
        causes[place] = std::current_exception();
      }
      const std::lock_guard lock(world->mutex);
      world->ended[place] = true;
      world->changed.notify_all();
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto* exceptions : {&causes, &consequences}) {
    for (const auto& exception : *exceptions) {
      if (exception) std::rethrow_exception(exception);
    }
  }
}

}  // namespace r1::test
