#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "r1/train/sharing.h"

namespace r1::train {

/// Micro-batches [begin, begin + size) whose gradients are one sum: size is a power of two that divides begin.
struct Block {
  int64_t begin = 0, size = 1;
};

/// A sum over items 0, 1, 2, ... in one fixed binary tree, however the items are dealt: two neighbouring blocks of the same size
/// become one when the left one begins at a multiple of twice the size, and what is left at the end is added from the right. Consecutive
/// items summed apart (on another rank) give blocks that go on to the very same sum:
///
///   13 items: ((0..7)) + ((8..11) + 12), each block halved alike
///
/// `add(left, right)` returns the sum, and may use up its arguments. Memory: at most one value for each bit of the count.
template <typename Value, typename Add>
class TreeSum {
 public:
  explicit TreeSum(Add add) : add_(std::move(add)) {}

  /// Blocks come in ascending order, without a gap.
  void push(Block block, Value value) {
    while (!terms_.empty() && siblings(terms_.back().first, block)) {
      block = {terms_.back().first.begin, 2 * block.size};
      value = add_(std::move(terms_.back().second), std::move(value));
      terms_.pop_back();
    }
    terms_.emplace_back(block, std::move(value));
  }

  const std::vector<std::pair<Block, Value>>& terms() const { return terms_; }

  /// The whole sum; there must be a term.
  Value fold() {
    while (terms_.size() > 1) {
      auto right = std::move(terms_.back().second);
      terms_.pop_back();
      terms_.back().second = add_(std::move(terms_.back().second), std::move(right));
    }
    auto sum = std::move(terms_.back().second);
    terms_.clear();
    return sum;
  }
  void clear() { terms_.clear(); }

 private:
  static bool siblings(const Block& left, const Block& right) {
    return left.size == right.size && left.begin % (2 * left.size) == 0;
  }
  Add add_;
  std::vector<std::pair<Block, Value>> terms_;
};

/// The blocks that a rank which sums `share` alone is left with.
inline std::vector<Block> blocks_of(const Share& share) {
  const auto nothing = [](int, int) { return 0; };
  TreeSum<int, decltype(nothing)> tree(nothing);
  for (int64_t i = share.begin; i < share.end; ++i) tree.push({i, 1}, 0);
  std::vector<Block> blocks;
  for (const auto& [block, value] : tree.terms()) blocks.push_back(block);
  return blocks;
}

}  // namespace r1::train
