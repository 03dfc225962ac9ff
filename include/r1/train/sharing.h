#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "r1/dist/communicator.h"

namespace r1::train {

/// The `numerics:` key (docs/numerics.md).
enum class Numerics {
  kExact,  ///< gradients of micro-batches are added in one fixed tree: the same bits on any number of ranks
  kFast,   ///< each rank adds its own as they come, then the ranks' sums are added: rounding depends on the number of ranks
};

/// Experts dealt over ranks: the job's ranks 0..E-1 hold a model's experts between them, E..2E-1 the same again, and so on.
struct ExpertSharing {
  std::shared_ptr<dist::Communicator> group;  ///< the E ranks of this one's model (model::ExpertRanks)
  std::shared_ptr<dist::Communicator> peers;  ///< those that hold the same experts as this one
  static ExpertSharing of(dist::Communicator& ranks, int group_size) {
    return {ranks.split(ranks.rank() / group_size, "experts"), ranks.split(ranks.rank() % group_size, "peers")};
  }
};

/// How the ranks of a job share the work of a stage.
struct Sharing {
  std::shared_ptr<dist::Communicator> ranks = dist::single();
  Numerics numerics = Numerics::kExact;
  bool zero = false;  ///< ZeRO-1: each rank keeps the optimizer's state of its part of the parameters alone
  std::optional<ExpertSharing> experts = {};
};

/// Consecutive items [begin, end).
struct Share {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  bool contains(int64_t i) const { return begin <= i && i < end; }
};

/// What `rank` of `ranks` takes of `count` items: consecutive ones, as even as can be; possibly none.
inline Share share_of(int64_t count, int rank, int ranks) { return {count * rank / ranks, count * (rank + 1) / ranks}; }

/// The passes that this rank makes over its share of `count` items: as many as it has, or, where experts are dealt, as any rank has.
inline int64_t num_passes(const Sharing& sharing, int64_t count) {
  const int rank = sharing.ranks->rank(), ranks = sharing.ranks->size();
  return sharing.experts ? (count + ranks - 1) / ranks : share_of(count, rank, ranks).size();
}

}  // namespace r1::train
