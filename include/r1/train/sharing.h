#pragma once
#include <cstdint>
#include <memory>

#include "r1/dist/communicator.h"

namespace r1::train {

/// The `numerics:` key (docs/numerics.md).
enum class Numerics {
  kExact,  ///< gradients of micro-batches are added in one fixed tree: the same bits on any number of ranks
  kFast,   ///< each rank adds its own as they come, then the ranks' sums are added: rounding depends on the number of ranks
};

/// How the ranks of a job share the work of a stage.
struct Sharing {
  std::shared_ptr<dist::Communicator> ranks = dist::single();
  Numerics numerics = Numerics::kExact;
  bool zero = false;  ///< ZeRO-1: each rank keeps the optimizer's state of its part of the parameters alone
};

/// Consecutive items [begin, end).
struct Share {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool contains(int64_t i) const { return begin <= i && i < end; }
};

/// What `rank` of `ranks` takes of `count` items: consecutive ones, as even as can be; possibly none.
inline Share share_of(int64_t count, int rank, int ranks) { return {count * rank / ranks, count * (rank + 1) / ranks}; }

}  // namespace r1::train
