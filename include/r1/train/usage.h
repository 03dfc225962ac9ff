#pragma once
#include <cstdint>
#include <functional>

#include "r1/model/flops.h"

namespace r1::train {

/// What a stage has spent so far, by phase and by kind of work. A stage gives sums; differences of two are what was spent
/// in between.
struct Usage {
  double rollout_s = 0, reward_s = 0, update_s = 0;       ///< within advance()
  double eval_s = 0, checkpoint_s = 0, load_s = 0;        ///< measured by the stage loop
  int64_t prompt_tokens = 0;                              ///< computed for sampling, each prompt once
  int64_t generated_tokens = 0;                           ///< sampled, evaluation included
  int64_t trained_tokens = 0;                             ///< that losses counted
  model::PassCounts sampling;                             ///< prefill and decoding
  model::PassCounts reference;                            ///< forward passes without gradient: reference and reward models
  model::PassCounts training;                             ///< forward and backward

  Usage operator-(const Usage& other) const;
};

/// Takes what was spent since the last call, with the stage's number of updates.
using Account = std::function<void(int64_t step, const Usage& spent)>;

}  // namespace r1::train
