#include "r1/algo/overlong.h"

#include <torch/torch.h>

namespace r1::algo {

OverlongConfig OverlongConfig::parse(ConfigNode node) {
  OverlongConfig c;
  node.read("mask_truncated", c.mask_truncated);
  node.read("soft_penalty_tokens", c.soft_penalty_tokens, at_least<int64_t>(0),
            "The penalty grows over the last so many tokens before the limit; 0 switches it off.");
  node.read("soft_penalty_scale", c.soft_penalty_scale, at_least(0.0),
            "It is subtracted from the reward at the limit.");
  node.reject_unknown_keys();
  return c;
}

at::Tensor soft_overlong_penalty(const at::Tensor& num_tokens, int64_t max_completion_tokens,
                                 const OverlongConfig& config, at::ScalarType dtype) {
  TORCH_CHECK(num_tokens.scalar_type() == at::kLong, "soft_overlong_penalty: lengths must be int64, got ",
              num_tokens.scalar_type());
  TORCH_CHECK(config.soft_penalty_tokens >= 0 && config.soft_penalty_tokens <= max_completion_tokens,
              "soft_overlong_penalty: soft_penalty_tokens is ", config.soft_penalty_tokens,
              "; accepted: 0 to max_completion_tokens = ", max_completion_tokens);
  if (config.soft_penalty_tokens == 0) return at::zeros_like(num_tokens, dtype);
  const int64_t free_tokens = max_completion_tokens - config.soft_penalty_tokens;
  const auto share = (free_tokens - num_tokens).to(dtype) / static_cast<double>(config.soft_penalty_tokens);
  return share.clamp(-1.0, 0.0) * config.soft_penalty_scale;
}

at::Tensor mask_truncated(const at::Tensor& mask_N, const at::Tensor& sequence_N,
                          const at::Tensor& truncated_M) {
  TORCH_CHECK(
      mask_N.dim() == 1 && mask_N.sizes() == sequence_N.sizes() && sequence_N.scalar_type() == at::kLong,
      "mask_truncated: mask and sequence must be [N] and sequence int64, got ", mask_N.sizes(), " and ",
      sequence_N.sizes(), " ", sequence_N.scalar_type());
  TORCH_CHECK(truncated_M.dim() == 1 && truncated_M.scalar_type() == at::kBool,
              "mask_truncated: truncated must be a bool [M], got ", truncated_M.sizes(), " ",
              truncated_M.scalar_type());
  return mask_N.masked_fill(truncated_M.index_select(0, sequence_N), 0);
}

}  // namespace r1::algo
