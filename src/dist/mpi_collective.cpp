#include "mpi_collective.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>

#include "reduce_in_order.h"

namespace r1::dist {
namespace {

using Kind = MpiCall::Kind;

constexpr int64_t kWholeReduceBytes = 8 << 10, kWholeBroadcastBytes = 64 << 10, kCrowdedBroadcastBytes = 512 << 10;
// Of all ranks' parts together. Where ranks share cores each segment costs changes of processes, so there are fewer.
constexpr int64_t kSegmentBytes = 2 << 20, kLongSegmentBytes = 8 << 20;
constexpr size_t kSegmentsOpen = 2;

char* at_element(const at::Tensor& x, int64_t element, int64_t item_bytes) {
  return static_cast<char*>(x.data_ptr()) + element * item_bytes;
}

std::vector<int64_t> begins_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (const auto count : counts) {
    begins.push_back(begin);
    begin += count;
  }
  return begins;
}

}  // namespace

std::vector<char> MpiScratch::take(int64_t bytes) {
  const auto wanted = static_cast<size_t>(bytes);
  const auto found = std::find_if(free_.begin(), free_.end(), [&](const auto& buffer) { return buffer.size() >= wanted; });
  if (found == free_.end()) {
    if (!free_.empty()) free_.pop_back();  // too small: one larger takes its place
    return std::vector<char>(std::max<size_t>(wanted, 64 << 10));
  }
  auto buffer = std::move(*found);
  free_.erase(found);
  return buffer;
}

MpiCollective::MpiCollective(const MpiRanks& ranks, MpiCall call, int64_t number)
    : ranks_(ranks), call_(std::move(call)), number_(number) {
  if (call_.in.defined()) item_bytes_ = static_cast<int64_t>(call_.in.element_size());
  cut();
}

void MpiCollective::cut() {
  const int n = ranks_.size;
  if (call_.kind == Kind::kReduceScatter) {
    counts_ = call_.counts;
  } else if (call_.kind == Kind::kAllReduce || call_.kind == Kind::kBroadcast) {
    const int64_t total = call_.in.numel(), bytes = total * item_bytes_;
    const int64_t broadcast_bytes = ranks_.crowded ? kCrowdedBroadcastBytes : kWholeBroadcastBytes;
    whole_ = bytes <= (call_.kind == Kind::kAllReduce ? kWholeReduceBytes : broadcast_bytes);
    if (whole_) return;
    const bool reduce = call_.kind == Kind::kAllReduce;
    const int64_t parts = reduce ? n : n - 1;  // the root needs no part of its own tensor
    for (int64_t r = 0, p = 0; r < n; ++r) {
      if (!reduce && r == call_.root) {
        counts_.push_back(0);
      } else {
        counts_.push_back(total * (p + 1) / parts - total * p / parts);
        ++p;
      }
    }
  } else {
    return;  // everything in one go
  }
  begins_ = begins_of(counts_);
  const bool long_ones = ranks_.crowded || call_.kind == Kind::kBroadcast;  // which adds nothing up, so no cache matters
  segment_elements_ = std::max<int64_t>(1, (long_ones ? kLongSegmentBytes : kSegmentBytes) / item_bytes_ / n);
  const int64_t longest = *std::max_element(counts_.begin(), counts_.end());
  num_segments_ = (longest + segment_elements_ - 1) / segment_elements_;
}

MpiCollective::Range MpiCollective::part(int rank, int64_t segment) const {
  const int64_t begin = std::min(segment * segment_elements_, counts_[rank]);
  return {begins_[rank] + begin, std::min(segment_elements_, counts_[rank] - begin)};
}

// Messages of one pair of ranks with one tag arrive in the order in which they were sent, so segments need no tags of their own; the
// two stages do, for they overlap.
void MpiCollective::send(Segment& segment, const at::Tensor& from, Range range, int to) {
  if (range.count == 0) return;
  const int tag = static_cast<int>((2 * number_ + segment.stage) % ranks_.largest_tag);
  segment.messages.send(at_element(from, range.begin, item_bytes_), range.count * item_bytes_, to, tag, ranks_.comm);
}

void MpiCollective::receive(Segment& segment, const at::Tensor& into, Range range, int from) {
  if (range.count == 0) return;
  const int tag = static_cast<int>((2 * number_ + segment.stage) % ranks_.largest_tag);
  segment.messages.receive(at_element(into, range.begin, item_bytes_), range.count * item_bytes_, from, tag, ranks_.comm);
}

void MpiCollective::exchange_parts(Segment& segment) {
  const auto mine = part(ranks_.rank, segment.index);
  const int64_t bytes = mine.count * item_bytes_;
  segment.received = ranks_.scratch->take(bytes * (ranks_.size - 1));
  const int tag = static_cast<int>((2 * number_ + segment.stage) % ranks_.largest_tag);
  auto* into = segment.received.data();
  for (int r = 0; r < ranks_.size; ++r) {
    if (r == ranks_.rank) continue;
    if (bytes > 0) segment.messages.receive(into, bytes, r, tag, ranks_.comm);
    into += bytes;
  }
  for (int k = 1; k < ranks_.size; ++k) {  // each rank begins with its neighbour, so that they do not all call at one door
    const int to = (ranks_.rank + k) % ranks_.size;
    send(segment, call_.in, part(to, segment.index), to);
  }
}

void MpiCollective::exchange_whole(Segment& segment) {
  const int64_t bytes = call_.in.numel() * item_bytes_;
  segment.received = ranks_.scratch->take(bytes * (ranks_.size - 1));
  auto* into = segment.received.data();
  const int tag = static_cast<int>((2 * number_ + segment.stage) % ranks_.largest_tag);
  for (int r = 0; r < ranks_.size; ++r) {
    if (r == ranks_.rank) continue;
    segment.messages.receive(into, bytes, r, tag, ranks_.comm);
    into += bytes;
  }
  for (int k = 1; k < ranks_.size; ++k) send(segment, call_.in, {0, call_.in.numel()}, (ranks_.rank + k) % ranks_.size);
}

void MpiCollective::pass_on(Segment& segment, int but_not_to) {
  for (int k = 1; k < ranks_.size; ++k) {
    const int from = (ranks_.rank + ranks_.size - k) % ranks_.size;
    receive(segment, call_.in, part(from, segment.index), from);
  }
  for (int k = 1; k < ranks_.size; ++k) {
    const int to = (ranks_.rank + k) % ranks_.size;
    if (to != but_not_to) send(segment, call_.in, part(ranks_.rank, segment.index), to);
  }
}

void MpiCollective::add_up(Segment& segment, const at::Tensor& own, Range range, const at::Tensor& out, int64_t out_begin) {
  std::vector<const void*> parts;
  const auto* received = segment.received.data();
  for (int r = 0; r < ranks_.size; ++r) {
    if (r == ranks_.rank) {
      parts.push_back(at_element(own, range.begin, item_bytes_));
    } else {
      parts.push_back(received);
      received += range.count * item_bytes_;
    }
  }
  reduce_in_order(own.scalar_type(), call_.op, parts, at_element(out, out_begin, item_bytes_), range.count);
  ranks_.scratch->give_back(std::move(segment.received));
}

void MpiCollective::open(Segment& segment) {
  const int n = ranks_.size, me = ranks_.rank;
  switch (call_.kind) {
    case Kind::kAllReduce:
      if (whole_) return exchange_whole(segment);
      return exchange_parts(segment);
    case Kind::kReduceScatter: return exchange_parts(segment);
    case Kind::kBroadcast:
      if (me != call_.root) {
        return receive(segment, call_.in, whole_ ? Range{0, call_.in.numel()} : part(me, segment.index), call_.root);
      }
      for (int k = 1; k < n; ++k) {
        const int to = (me + k) % n;
        send(segment, call_.in, whole_ ? Range{0, call_.in.numel()} : part(to, segment.index), to);
      }
      return;
    case Kind::kAllGather:
    case Kind::kAllToAll: {
      const bool gather = call_.kind == Kind::kAllGather;
      const auto& to_counts = call_.counts;
      const auto& from_counts = gather ? call_.counts : call_.receive_counts;
      const auto to_begins = begins_of(to_counts), from_begins = begins_of(from_counts);
      const auto outgoing = [&](int r) { return gather ? Range{0, to_counts[me]} : Range{to_begins[r], to_counts[r]}; };
      for (int k = 1; k < n; ++k) {
        const int from = (me + n - k) % n;
        receive(segment, call_.out, {from_begins[from], from_counts[from]}, from);
      }
      for (int k = 1; k < n; ++k) send(segment, call_.in, outgoing((me + k) % n), (me + k) % n);
      auto* own = at_element(call_.out, from_begins[me], item_bytes_);
      const auto* source = at_element(call_.in, outgoing(me).begin, item_bytes_);
      if (own != source && from_counts[me] > 0) std::memcpy(own, source, static_cast<size_t>(from_counts[me] * item_bytes_));
      return;
    }
    case Kind::kBarrier: {
      const int tag = static_cast<int>(2 * number_ % ranks_.largest_tag);
      for (int k = 1; k < n; ++k) {
        segment.messages.receive(nullptr, 0, (me + n - k) % n, tag, ranks_.comm);
        segment.messages.send(nullptr, 0, (me + k) % n, tag, ranks_.comm);
      }
    }
  }
}

bool MpiCollective::close_stage(Segment& segment) {
  if (segment.stage == 1) return true;
  const int me = ranks_.rank;
  switch (call_.kind) {
    case Kind::kAllReduce:
      if (whole_) {
        add_up(segment, call_.in, {0, call_.in.numel()}, call_.in, 0);
        return true;
      }
      add_up(segment, call_.in, part(me, segment.index), call_.in, part(me, segment.index).begin);
      segment.stage = 1;
      pass_on(segment, -1);
      return false;
    case Kind::kReduceScatter:
      add_up(segment, call_.in, part(me, segment.index), call_.out, part(me, segment.index).begin - begins_[me]);
      return true;
    case Kind::kBroadcast:
      if (whole_ || me == call_.root) return true;
      segment.stage = 1;
      pass_on(segment, call_.root);
      return false;
    default: return true;
  }
}

MpiEngine::Job::State MpiCollective::advance() {
  bool moved = false;
  // A segment begins its second stage only after the one before it has: all ranks send in one order.
  bool may_close = true;
  for (auto& segment : open_) {
    if (segment.stage == 0 && !may_close) break;
    if (segment.messages.done()) {
      moved = true;
      if (close_stage(segment)) segment.index = -1;
    } else if (segment.stage == 0) {
      may_close = false;
    }
  }
  std::erase_if(open_, [](const Segment& segment) { return segment.index < 0; });
  for (; next_ < num_segments_ && open_.size() < kSegmentsOpen; ++next_, moved = true) {
    open(open_.emplace_back(Segment{.index = next_, .stage = 0, .messages = {}, .received = {}}));
  }
  return open_.empty() ? State::kEnded : moved ? State::kMoved : State::kUnchanged;
}

}  // namespace r1::dist
