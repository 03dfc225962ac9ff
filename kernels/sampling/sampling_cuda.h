#pragma once
#include <cstdint>

#include "kernels/device/types.h"

// ops::sample_tokens on a GPU. All pointers are device memory; the rule of a draw is read there too, so a
// captured graph serves any rule. Sums are integers (weights in units of 2^-44 of the largest), so their order
// does not matter: the same bits every time.
namespace r1::kernels::cuda {

/// One token to draw: from which row, by which rule, with which random number.
struct Draw {
  int32_t row;  ///< of the logits; -1: nothing is drawn, nothing is written
  // ops::SamplingRule
  int32_t top_k;              ///< 0: all
  double top_p;               ///< 1 or more: all
  double min_p;               ///< 0: all
  float inverse_temperature;  ///< 1 / temperature; 0: the largest logit, whose log-probability is that of temperature 1
  // util/random.h: philox_key of (seed, stream, stage), then the counter
  uint32_t key[2];
  uint32_t position, sample, prompt, step;
  double uniform;  ///< in [0, 1): taken instead of the counter's; negative: the counter's
};

/// Draw m takes the token at which the cumulative distribution passes u in [0, 1), the Philox number of its
/// counter or `uniform`: with z = logits / temperature, of the top_k largest, of these the fewest whose share reaches
/// top_p, of these the ones with at least min_p of the largest probability. Order of summation: of the index
/// without cuts, of descending logits with them, equal ones by index; the rule of ops::sample_tokens, whose
/// draws differ only where u meets a border up to rounding.
///   logits_RV [R, V], rows contiguous;  tokens_M, logprobs_M: the token and its log-probability (nats) under
///   the distribution that was drawn from
/// NaN counts as -infinity. Throws std::runtime_error unless 1 <= V <= 262,144.
template <class T>
void sample_tokens(int64_t M, int64_t V, const T* logits_RV, const Draw* draws_M, int64_t* tokens_M,
                   float* logprobs_M, cudaStream_t stream);

}  // namespace r1::kernels::cuda
