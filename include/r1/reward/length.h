#pragma once
#include <cstdint>
#include <string_view>

#include "r1/util/config.h"

namespace r1 {

/// The keys of a `length` part beside kind and weight.
struct LengthConfig {
  int64_t max_characters = 0;  ///< L_max; what is longer counts as this long
  double right_short = 1, right_long = 0;
  double wrong_short = 0, wrong_long = 0;
  static LengthConfig parse(const ConfigNode& node);
};

/// The cosine length reward: with L the completion's length, a the value at L = 0 and b the value at L_max,
///
///   value(L) = b + (a - b) * (1 + cos(pi * min(L, L_max) / L_max)) / 2
///
///   (a, b) = (right_short, right_long) for a right answer, (wrong_short, wrong_long) for any other.
///
/// Flat at both ends, so neither the shortest nor the longest texts are pushed. The defaults let a short
/// right answer earn more than a long one and leave wrong ones alone; wrong_short < wrong_long makes thinking
/// longer worth while when the answer is wrong. L counts Unicode characters, since a verifier knows no
/// tokens.
///
/// Source: arXiv:2502.03373, the cosine reward, whose right answers go from 2 to 1 and wrong ones from -10 to
/// 0 with accuracy inside; here accuracy is a part of its own. Its penalty for reaching the limit is grpo's
/// loss.overlong.soft_penalty_tokens.
double length_value(std::string_view completion, bool right, const LengthConfig& config);

}  // namespace r1
