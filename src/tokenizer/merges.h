#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "byte_string_map.h"

namespace r1 {

/// One rule of byte-pair encoding: the neighbours `left` and `right` become `result`.
struct Merge {
  int32_t left = 0, right = 0, result = 0;
  bool operator==(const Merge&) const = default;
};

/// (left, right) -> (rank, result); the rule with the smallest rank goes first.
class MergeTable {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  struct Entry {
    uint32_t rank = kNone;
    int32_t result = -1;
  };

  MergeTable() = default;
  /// merges: by priority. rank_by_result: rules with the same result share the first one's rank (tiktoken's
  /// and SentencePiece's rule); otherwise the rank is the position in the list (HF's rule). Of two rules for
  /// one pair the last counts, as in HF.
  MergeTable(const std::vector<Merge>& merges, bool rank_by_result);

  Entry find(int32_t left, int32_t right) const {
    const uint64_t key = make_key(left, right);
    for (size_t at = slot_of(key);; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.key == key) return slot.entry;
      if (slot.key == kFree) return {};
    }
  }

 private:
  static constexpr uint64_t kFree = ~0ull;
  struct Slot {
    uint64_t key = kFree;
    Entry entry;
  };
  static uint64_t make_key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * 0x9E3779B97F4A7C15ull) >> shift_; }

  std::vector<Slot> slots_{Slot{}, Slot{}};
  size_t mask_ = 1;
  int shift_ = 63;
};

/// Every way to make a piece of two others, ordered by order[result], then left, then right: what a
/// vocabulary without merges (tiktoken ranks, SentencePiece scores) allows. ids maps the pieces that take
/// part.
std::vector<Merge> merges_of_pieces(const std::vector<std::string>& pieces, const ByteStringMap& ids,
                                    const std::vector<int64_t>& order);

}  // namespace r1
