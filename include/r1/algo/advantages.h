#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "r1/util/config.h"

// Letters of this file: P prompts, G completions per prompt (a group).
namespace r1::algo {

/// What is subtracted from a reward.
enum class Baseline {
  kMean,         ///< the group's mean, the completion itself included (GRPO)
  kLeaveOneOut,  ///< the mean of the other completions of the group (RLOO)
};

/// What the centred reward is divided by.
enum class RewardStd {
  kNone,        ///< nothing (Dr. GRPO, RLOO)
  kPopulation,  ///< sqrt(mean of squared deviations): divides by G
  kSample,      ///< torch.std's default: divides by G - 1
};

/// The `advantage:` section.
struct AdvantageConfig {
  Baseline baseline = Baseline::kMean;
  RewardStd std = RewardStd::kPopulation;
  double eps = 1e-6;  ///< added to std; dimension of a reward

  /// Keys: baseline (mean | leave_one_out), std (none | population | sample), eps (0 or more).
  /// Throws Error with file:line:key.
  static AdvantageConfig parse(ConfigNode node);
};

/// Group-relative advantages:
///
///   mean:           A[p,g] = (r[p,g] - mean_g r[p]) / (std_g r[p] + eps)
///   leave_one_out:  A[p,g] = (r[p,g] - mean_{j != g} r[p,j]) / (std_g r[p] + eps)
///   std none:       no division
///
///   rewards_PG  [P, G] float32 or float64; one row per prompt, one column per sampled completion
///   valid_PG    [P, G] bool, or undefined when every reward counts. A completion whose verifier could not
///   tell is
///               false: it takes no part in mean and std, and its advantage is 0. Its reward may be NaN.
///
/// Returns [P, G], same dtype and device, detached.
/// A group of equal rewards gives exactly 0, found by max == min: the mean of sixteen times 0.1 in float32 is
/// not 0.1, and (r - mean) / (0 + eps) would be noise divided by 1e-6. The same for a group with fewer than
/// two valid rewards.
///
/// std: DeepSeekMath and R1 write std(r_1 ... r_G) and do not say which. Ours is the population's, as a group
/// is all there is and |A| <= sqrt(G - 1) then holds; TRL uses torch.std, which divides by G - 1 and makes
/// advantages smaller by sqrt((G - 1) / G): 3 % at G = 16, 29 % at G = 2. `sample` gives TRL's (with its eps
/// of 1e-4).
///
/// Throws c10::Error unless rewards_PG is a floating 2-D tensor with G >= 2, or when a valid reward is not
/// finite. Source: DeepSeekMath (arXiv:2402.03300) section 4.1.2, R1 (arXiv:2501.12948v2) eq. (3); RLOO
/// (arXiv:2402.14740) section 3.3; without std Dr. GRPO (arXiv:2503.20783) section 3.2. eps and valid_PG are
/// ours.
at::Tensor group_advantages(const at::Tensor& rewards_PG, const AdvantageConfig& config = {},
                            const at::Tensor& valid_PG = {});

}  // namespace r1::algo
