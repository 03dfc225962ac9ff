#pragma once
#include "simulate_decoding.h"

namespace r1::pipeline {

/// Lengths of a rollout's completions: exponential and cut at `limit`, such that their mean is `mean`. Assumed, since only the mean is
/// published: S(t) = exp(-t / scale) for t < limit.
class CompletionLengths {
 public:
  CompletionLengths(double mean, double limit);
  double longer_than(double tokens) const;  ///< S: their part that goes on after so many tokens
  double mean() const { return mean_; }
  double limit() const { return limit_; }
  /// Mean of the square of prompt + length, which attention's (query, key) pairs grow with: half of it is a sequence's pairs.
  double mean_square(double prompt) const;
  /// What the longest of n is on average: about where n S is one half, at most the limit.
  double longest_of(double n) const;

 private:
  double mean_, limit_, scale_;
};

/// What one rollout samples.
struct RolloutWork {
  double prompts = 0, completions = 0, prompt_tokens = 0;
  double longest = 0;               ///< the longest completion
  double tokens_per_decode_step = 1;
  double at_once = 0;               ///< sequences that a rank decodes together at most; 0: no limit
};

struct RolloutTime {
  double prefill_s = 0, decode_s = 0;
  double steps = 0;                 ///< of decoding, on the longest completion
  DecodeStep sum, first, last;      ///< all steps; the first, and the last with one sequence left
  double cached_tokens = 0;         ///< the most that one rank holds
  LinkBytes bytes;                  ///< dispatch and combine of one rank, decoding
};

/// A rollout on all ranks of `replicas` groups. Sequences begin together, dealt evenly, and fall away as they end; the busiest rank sets
/// the pace: n0 S + sqrt(2 n0 S (1 - S) ln ranks) of the n0 it began with. Steps are as many as the longest completion needs;
/// what does not fit at once follows in waves.
RolloutTime simulate_rollout(const Machine& machine, const ModelParts& model, const SamplerLayout& layout, double replicas, const RolloutWork& work,
                             const CompletionLengths& lengths);

/// Bytes of one rank while it samples: all parameters but the routed experts, its part of those with redundant copies, and the cache.
std::vector<std::pair<std::string, double>> sampler_memory(const Machine& machine, const ModelParts& model, const SamplerLayout& layout, double cached_tokens);

}  // namespace r1::pipeline
