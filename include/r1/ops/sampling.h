#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace r1::ops {

/// Which distribution a token is drawn from. With z = logits / temperature: keep the top_k largest, of these the fewest
/// whose share reaches top_p, of these the ones with at least min_p of the largest probability; then renormalise.
/// Ties are kept in order of their index.
struct SamplingRule {
  double temperature = 1.0;  ///< 0: the largest logit; its log-probability is then that of temperature 1
  int64_t top_k = 0;         ///< 0: all
  double top_p = 1.0;        ///< 1: all
  double min_p = 0.0;        ///< 0: all
  bool cuts() const { return top_k > 0 || top_p < 1.0 || min_p > 0.0; }
};

struct SampledTokens {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;  ///< nats, of the distribution that was drawn from
};

/// Draws token m from row row_of[m] of logits_RV by inverting the cumulative distribution at uniforms[m] in [0, 1).
/// A draw depends on its row, the rule and its uniform alone. Without cuts the log-probability is the one that
/// linear_logprob gives for the same hidden state, bit for bit.
SampledTokens sample_tokens(const at::Tensor& logits_RV, const std::vector<int64_t>& row_of,
                            const std::vector<double>& uniforms, const SamplingRule& rule);

}  // namespace r1::ops
