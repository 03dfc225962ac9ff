#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "r1/reward/reward.h"

namespace r1 {

/// Scores requests on threads of its own while the caller goes on, and gives the scores in the caller's order.
///
/// For rewards that run code, whose work is done by sandboxed processes: they overlap with generation and with each
/// other. A score is a function of its request, so neither the number of threads nor their order changes any.
class ScoringPool {
 public:
  /// `reward` outlives the pool. workers: threads; 0: none, all is scored in finish().
  ScoringPool(const Reward& reward, int64_t workers);
  ~ScoringPool();  ///< drops what has not begun and waits for the rest

  /// `place`: where the score will stand; each from 0 on exactly once, in any order. From one thread.
  void submit(size_t place, RewardRequest request);

  /// Waits for all that was submitted. Scores by place. Throws what the first failing place threw; the pool is empty
  /// afterwards and may be used again.
  std::vector<Score> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
