#include "r1/train/usage.h"

namespace r1::train {

Usage Usage::operator-(const Usage& o) const {
  return {rollout_s - o.rollout_s,
          reward_s - o.reward_s,
          update_s - o.update_s,
          eval_s - o.eval_s,
          checkpoint_s - o.checkpoint_s,
          load_s - o.load_s,
          prompt_tokens - o.prompt_tokens,
          generated_tokens - o.generated_tokens,
          trained_tokens - o.trained_tokens,
          sampling - o.sampling,
          reference - o.reference,
          training - o.training};
}

}  // namespace r1::train
