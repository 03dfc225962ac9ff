#include "simulate_pipeline.h"

#include <algorithm>
#include <deque>
#include <limits>

#include <c10/util/Exception.h>

namespace r1::pipeline {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
// Stages are cut for the least sum of their times to the 16th power: nearly the least slowest one, and of these the most even cut.
double evenness(double time) {
  for (int i = 0; i < 4; ++i) time *= time;
  return time;
}

// A rank's next piece of work. Directions: 0 enters at rank 0, 1 at the last rank; -1: no such part.
struct Chunk {
  int forward = -1, backward = -1;
  bool weight = false;    // gradients of the weights that an earlier backward chunk left
  bool put_off = false;   // this backward chunk leaves them
};

std::vector<Chunk> dual_order(int64_t rank, int64_t ranks, int64_t micro_batches) {
  const int64_t half = ranks / 2, place = std::min(rank, ranks - 1 - rank);
  const int near = rank >= half ? 1 : 0, far = 1 - near;  // the direction that enters at this half's end, and the other
  const bool middle = place == half - 1;
  std::vector<Chunk> order;
  const auto forward = [&](int direction) { order.push_back({.forward = direction}); };
  const auto backward = [&](int direction, bool put_off) { order.push_back({.backward = direction, .put_off = put_off}); };
  const auto weight = [&] { order.push_back({.weight = true}); };
  const auto both = [&](int f, int b) { order.push_back({.forward = f, .backward = b}); };
  for (int64_t i = 0; i < 2 * (half - place - 1); ++i) forward(near);
  for (int64_t i = 0; i < place + 1; ++i) {
    forward(near);
    forward(far);
  }
  for (int64_t i = 0; i < half - place - 1; ++i) {
    backward(far, true);
    weight();
    forward(far);
  }
  for (int64_t i = 0; i < micro_batches / 2 - ranks + place + 1; ++i) {
    if (i == 0 && middle) {
      forward(near);
      backward(far, false);
    } else {
      both(near, far);
    }
    both(far, near);
  }
  for (int64_t i = 0; i < half - place - 1; ++i) {
    backward(far, false);
    both(far, near);
  }
  bool put_off = false;
  for (int64_t i = 0; i < place + 1; ++i) {
    if (i == (place + 1) / 2 && place % 2 == 1) put_off = true;
    backward(far, put_off);
    if (i == (place + 1) / 2 && place % 2 == 0) put_off = true;
    backward(near, put_off);
  }
  for (int64_t i = 0; i < half - place - 1; ++i) {
    weight();
    backward(near, true);
  }
  for (int64_t i = 0; i < place + 1; ++i) weight();
  return order;
}

std::vector<Chunk> single_order(int64_t rank, int64_t ranks, int64_t micro_batches) {
  std::vector<Chunk> order;
  if (ranks == 1) {
    order.push_back({.forward = 0});
    for (int64_t i = 1; i < micro_batches; ++i) order.push_back({.forward = 0, .backward = 0});
    order.push_back({.backward = 0});
    return order;
  }
  const int64_t ahead = std::min(micro_batches, ranks - 1 - rank);
  for (int64_t i = 0; i < ahead; ++i) order.push_back({.forward = 0});
  for (int64_t i = 0; i < micro_batches; ++i) {
    if (i + ahead < micro_batches) order.push_back({.forward = 0});
    order.push_back({.backward = 0});
  }
  return order;
}

struct Rank {
  std::vector<Chunk> order;
  size_t next = 0;
  double free_at = 0;
  int64_t forwards[2] = {0, 0}, backwards[2] = {0, 0};
  std::deque<int> put_off;  // directions
};

class Run {
 public:
  Run(const Machine& machine, const std::vector<ChunkTime>& stages, int64_t micro_batches, double send_s, bool dual)
      : machine_(machine), stages_(stages), P_(static_cast<int64_t>(stages.size())), send_s_(send_s), ranks_(stages.size()) {
    const auto per_direction = static_cast<size_t>(micro_batches);
    for (auto* done : {&forward_done_, &backward_done_}) {
      for (auto& direction : *done) direction.assign(static_cast<size_t>(P_), std::vector<double>(per_direction, kNever));
    }
    for (int64_t r = 0; r < P_; ++r) {
      ranks_[static_cast<size_t>(r)].order = dual ? dual_order(r, P_, micro_batches) : single_order(r, P_, micro_batches);
    }
  }

  PipelineTime run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int64_t r = 0; r < P_; ++r) {
        while (step(r)) moved = true;
      }
    }
    for (const auto& rank : ranks_) {
      TORCH_INTERNAL_ASSERT(rank.next == rank.order.size(), "a schedule waits for itself");
      out_.seconds = std::max(out_.seconds, rank.free_at);
    }
    const auto n = static_cast<double>(P_);
    for (double* part : {&out_.forward, &out_.backward, &out_.weight, &out_.shared_device, &out_.exchange_exposed, &out_.forward_alone, &out_.backward_alone,
                         &out_.weight_alone, &out_.together}) {
      *part /= n;
    }
    out_.bubble = out_.seconds - out_.forward_alone - out_.backward_alone - out_.weight_alone - out_.together;
    return out_;
  }

 private:
  int64_t stage_of(int64_t rank, int direction) const { return direction == 0 ? rank : P_ - 1 - rank; }
  const ChunkTime& time_of(int64_t rank, int direction) const { return stages_[static_cast<size_t>(stage_of(rank, direction))]; }
  double& forward_at(int direction, int64_t stage, int64_t i) { return forward_done_[direction][static_cast<size_t>(stage)][static_cast<size_t>(i)]; }
  double& backward_at(int direction, int64_t stage, int64_t i) { return backward_done_[direction][static_cast<size_t>(stage)][static_cast<size_t>(i)]; }

  // Runs the rank's next chunk if all that it needs has been computed.
  bool step(int64_t r) {
    auto& rank = ranks_[static_cast<size_t>(r)];
    if (rank.next == rank.order.size()) return false;
    const auto& chunk = rank.order[rank.next];
    double start = rank.free_at;
    if (chunk.forward >= 0) {
      const int64_t stage = stage_of(r, chunk.forward);
      if (stage > 0) start = std::max(start, forward_at(chunk.forward, stage - 1, rank.forwards[chunk.forward]) + send_s_);
    }
    if (chunk.backward >= 0) {
      const int64_t stage = stage_of(r, chunk.backward), i = rank.backwards[chunk.backward];
      start = std::max(start, stage < P_ - 1 ? backward_at(chunk.backward, stage + 1, i) + send_s_ : forward_at(chunk.backward, stage, i));
    }
    if (start == kNever) return false;
    rank.free_at = start + spend(r, rank, chunk);
    if (chunk.forward >= 0) forward_at(chunk.forward, stage_of(r, chunk.forward), rank.forwards[chunk.forward]++) = rank.free_at;
    if (chunk.backward >= 0) backward_at(chunk.backward, stage_of(r, chunk.backward), rank.backwards[chunk.backward]++) = rank.free_at;
    ++rank.next;
    return true;
  }

  // Seconds of a chunk, which are added to the sums.
  double spend(int64_t r, Rank& rank, const Chunk& chunk) {
    if (chunk.weight) {
      const double seconds = time_of(r, rank.put_off.front()).weight;
      rank.put_off.pop_front();
      out_.weight += seconds;
      out_.weight_alone += seconds;
      return seconds;
    }
    double compute = 0, exchange = 0;
    if (chunk.forward >= 0) {
      const auto& t = time_of(r, chunk.forward);
      compute += t.forward;
      exchange += t.exchange_forward;
      out_.forward += t.forward;
    }
    if (chunk.backward >= 0) {
      const auto& t = time_of(r, chunk.backward);
      compute += t.backward + (chunk.put_off ? 0 : t.weight);
      exchange += t.exchange_backward;
      out_.backward += t.backward;
      if (chunk.put_off) rank.put_off.push_back(chunk.backward);
      else out_.weight += t.weight;
    }
    if (chunk.forward >= 0 && chunk.backward >= 0) {
      const double slowed = exchange > 0 ? beside_exchange(machine_, compute) : compute, seconds = std::max(slowed, exchange);
      out_.shared_device += slowed - compute;
      out_.exchange_exposed += seconds - slowed;
      out_.together += seconds;
      return seconds;
    }
    out_.exchange_exposed += exchange;
    (chunk.forward >= 0 ? out_.forward_alone : out_.backward_alone) += compute + exchange;
    return compute + exchange;
  }

  const Machine& machine_;
  const std::vector<ChunkTime>& stages_;
  int64_t P_;
  double send_s_;
  std::vector<Rank> ranks_;
  std::vector<std::vector<double>> forward_done_[2], backward_done_[2];  // [direction][stage][micro-batch of that direction]
  PipelineTime out_;
};

}  // namespace

std::vector<ChunkTime> cut_into_stages(const std::vector<ChunkTime>& units, int64_t stages, bool hidden) {
  const size_t n = units.size(), S = static_cast<size_t>(stages);
  std::vector<double> sum(n + 1, 0);
  for (size_t i = 0; i < n; ++i) sum[i + 1] = sum[i] + units[i].compute() + (hidden ? 0 : units[i].exchange_forward + units[i].exchange_backward);
  const double mean = sum[n] / static_cast<double>(stages);
  // cost[s][i]: of the first i units in s stages.
  std::vector<std::vector<double>> cost(S + 1, std::vector<double>(n + 1, kNever));
  std::vector<std::vector<size_t>> cut(S + 1, std::vector<size_t>(n + 1, 0));
  cost[0][0] = 0;
  for (size_t s = 1; s <= S; ++s) {
    for (size_t i = s; i <= n; ++i) {
      for (size_t from = s - 1; from < i; ++from) {
        const double with_it = cost[s - 1][from] + evenness((sum[i] - sum[from]) / mean);
        if (with_it < cost[s][i]) {
          cost[s][i] = with_it;
          cut[s][i] = from;
        }
      }
    }
  }
  std::vector<ChunkTime> out(S);
  for (size_t s = S, end = n; s > 0; --s) {
    const size_t from = cut[s][end];
    for (size_t i = from; i < end; ++i) out[s - 1] += units[i];
    end = from;
  }
  return out;
}

bool can_run_dual(int64_t stages, int64_t micro_batches) { return stages % 2 == 0 && micro_batches % 2 == 0 && micro_batches >= 2 * stages; }

PipelineTime run_pipeline(const Machine& machine, const std::vector<ChunkTime>& stages, int64_t micro_batches, double send_s, bool dual) {
  auto out = Run(machine, stages, micro_batches, send_s, dual).run();
  out.schedule = dual ? "DualPipe" : stages.size() == 1 ? "no pipeline" : "1F1B";
  return out;
}

double dual_bubble(int64_t stages, double together, double backward, double weight) {
  return (static_cast<double>(stages) / 2 - 1) * (together + backward - 3 * weight);
}

}  // namespace r1::pipeline
