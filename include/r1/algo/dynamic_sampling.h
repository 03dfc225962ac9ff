#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

// Letters of this file: P prompts, G completions per prompt (a group).
namespace r1::algo {

/// Which groups carry a learning signal: true where the rewards of a group are not all equal (max > min).
///
///   rewards_PG  [P, G] float32 or float64, finite
///   valid_PG    [P, G] bool or undefined; false: not counted (see group_advantages)
///
/// Returns [P] bool on the same device. The others have zero advantages, so DAPO samples further prompts
/// instead. With 0/1 rewards it is the condition 0 < |{right answers}| < G. Throws c10::Error unless 2-D.
/// Source: DAPO (arXiv:2503.14476) eq. (11).
at::Tensor mixed_groups(const at::Tensor& rewards_PG, const at::Tensor& valid_PG = {});

/// Numbers of groups of one step. all_right + all_wrong + mixed + unjudged = total.
struct GroupCounts {
  int64_t total = 0;
  int64_t mixed = 0;      ///< right and wrong completions
  int64_t all_right = 0;  ///< every judged completion is right
  int64_t all_wrong = 0;  ///< every judged completion is wrong
  int64_t unjudged = 0;   ///< no completion could be judged

  GroupCounts& operator+=(const GroupCounts& other);
};

/// Counts by the answer alone, whatever other reward parts say.
///
///   right_PG  [P, G] bool, the answer is right
///   valid_PG  [P, G] bool or undefined; false where the verifier could not tell
///
/// Waits for the device once. Throws c10::Error unless 2-D bool.
GroupCounts count_groups(const at::Tensor& right_PG, const at::Tensor& valid_PG = {});

}  // namespace r1::algo
