#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "r1/util/config.h"

namespace r1::algo {

/// The `overlong:` section: completions that end because the token limit was reached, not because they were
/// done.
struct OverlongConfig {
  bool mask_truncated = false;  ///< leave truncated completions out of the loss (DAPO's overlong filtering)
  int64_t soft_penalty_tokens = 0;  ///< L_cache of DAPO eq. (13); 0: no penalty
  double soft_penalty_scale = 1.0;  ///< the penalty at the limit; reward units

  /// Keys as the fields. Throws Error with file:line:key.
  static OverlongConfig parse(ConfigNode node);
};

/// Soft overlong punishment, added to the rewards before the advantages are taken:
///
///   R(y) = 0                                        |y| <= L_max - L_cache
///   R(y) = ((L_max - L_cache) - |y|) / L_cache      L_max - L_cache < |y| <= L_max
///   R(y) = -1                                       L_max < |y|
///
/// times soft_penalty_scale.
///
///   num_tokens             any shape, int64: completion lengths in tokens
///   max_completion_tokens  L_max
///
/// Returns the same shape, `dtype` (float32 or float64). All zero when soft_penalty_tokens is 0.
/// Throws c10::Error unless 0 <= soft_penalty_tokens <= max_completion_tokens.
/// Source: DAPO (arXiv:2503.14476) eq. (13); the scale is ours (DAPO: 1).
at::Tensor soft_overlong_penalty(const at::Tensor& num_tokens, int64_t max_completion_tokens,
                                 const OverlongConfig& config, at::ScalarType dtype);

/// The mask without the tokens of truncated completions (letters: N packed tokens, M sequences of the
/// micro-batch).
///
///   mask_N       [N] bool, or 0/1 of any dtype
///   sequence_N   [N] int64 in [0, M)
///   truncated_M  [M] bool
///
/// Returns [N], dtype of mask_N. A step's num_tokens is to be counted after it; num_sequences keeps them
/// (they were sampled, and DAPO and TRL divide by them too). Source: DAPO (arXiv:2503.14476) section 3.4,
/// overlong filtering.
at::Tensor mask_truncated(const at::Tensor& mask_N, const at::Tensor& sequence_N,
                          const at::Tensor& truncated_M);

}  // namespace r1::algo
