#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "r1/algo/kl.h"
#include "r1/algo/overlong.h"
#include "r1/util/config.h"

// Letters of this file: N packed tokens of the micro-batch, M sequences (completions) of the micro-batch.
namespace r1::algo {

/// How token terms become one number; docs/algorithms.md has the equations side by side.
enum class Aggregation {
  kSequence,  ///< one term per completion from its whole log-probability; 1/G sum_i  (R1 eq. (1), literally)
  kTokenInSequence,  ///< 1/G sum_i 1/|o_i| sum_t                                            (DeepSeekMath eq.
                     ///< (3))
  kToken,            ///< sum over all tokens / number of trained tokens of the step         (DAPO eq. (8))
  kConstant,         ///< 1/G sum_i 1/constant sum_t                                         (Dr. GRPO)
};

/// What is exponentiated and clipped.
enum class RatioLevel {
  kToken,  ///< r_t = exp(l_t)                                             (DeepSeekMath eq. (3), DAPO eq.
           ///< (9))
  kSequenceMean,     ///< s_i = exp(1/|o_i| sum_t l_t), the same for all its tokens  (GSPO eq. (7))
  kSequenceProduct,  ///< pi(o_i|q) / pi_old(o_i|q) = exp(sum_t l_t)                 (R1 eq. (1), literally)
};  // with l_t = logprobs_t - old_logprobs_t

/// The `loss:` section of a GRPO stage. The defaults are R1's.
struct GrpoLossConfig {
  double clip_low = 10.0;   ///< ratios below 1 - clip_low are clipped; 1 and above: never
  double clip_high = 10.0;  ///< ratios above 1 + clip_high are clipped; DAPO's clip-higher: 0.2 and 0.28
  double dual_clip = 0.0;  ///< c > 1: for A < 0 the term is at least c * A (arXiv:1912.09729 eq. (5)); 0: off
  double kl_coef = 0.001;  ///< beta; 0 needs no reference model
  KlEstimator kl_estimator = KlEstimator::kK3;
  Aggregation aggregation = Aggregation::kTokenInSequence;
  RatioLevel ratio_level = RatioLevel::kToken;
  int64_t constant_length = 0;  ///< tokens; Dr. GRPO's constant. 0: the stage fills in max_completion_tokens
  double tis_cap = 0.0;         ///< C of the truncated importance weight min(pi_old / pi_rollout, C); 0: off
  OverlongConfig overlong;

  /// Keys: as the fields; kl_estimator k1 | k2 | k3; aggregation sequence | token_in_sequence | token |
  /// constant; ratio_level token | sequence_mean | sequence_product (absent: sequence_product when
  /// aggregation is sequence, else token). Throws Error with file:line:key, also for aggregation sequence
  /// with ratio_level token.
  static GrpoLossConfig parse(ConfigNode node);
};

/// One micro-batch. All of a sequence's tokens must be in the same micro-batch. Tensors share one device; the
/// log-probabilities share the dtype of `logprobs_N` and are those of the temperature that was sampled with.
struct GrpoBatch {
  at::Tensor rollout_logprobs_N;    ///< [N] recorded by the sampler
  at::Tensor old_logprobs_N;        ///< [N] the paper's old policy evaluated by the trainer; undefined: the
                                    ///< sampler's values
  at::Tensor reference_logprobs_N;  ///< [N] undefined when kl_coef is 0
  at::Tensor advantages_M;          ///< [M] one per completion (outcome supervision); or
  at::Tensor advantages_N;          ///< [N] one per token; exactly one of the two is defined
  at::Tensor sequence_N;            ///< [N] int64 in [0, M): the completion a token belongs to
  at::Tensor mask_N;  ///< [N] bool or 0/1: 1 on trained tokens; elsewhere all other entries may be anything
  int64_t num_sequences = 0;  ///< M, empty completions included
};

/// Denominators over the whole step (all micro-batches, all ranks), so that micro-batches sum to the step's
/// loss.
struct LossScale {
  int64_t num_sequences_step =
      0;  ///< completions, empty and masked ones included; sequence aggregations and constant
  int64_t num_tokens_step = 0;  ///< trained tokens (mask 1); `token`
  int64_t constant_length = 0;  ///< tokens; `constant`
};

/// 0-dim float64 tensors on the device, detached. Sums over the trained tokens of what was added so far:
/// divide by `tokens` when printing. With a sequence ratio, each of a completion's tokens counts with the
/// completion's ratio.
struct GrpoStats {
  at::Tensor policy_loss;      ///< weighted as the loss: adds up to the step's policy part (to be minimised)
  at::Tensor kl_loss;          ///< weighted as the loss, without beta
  at::Tensor kl_sum;           ///< nats, estimator of the config, per token whatever the aggregation
  at::Tensor entropy_sum;      ///< nats, -logprobs of the sampled tokens: an estimate of the policy's entropy
  at::Tensor clip_low_count;   ///< tokens with A < 0 and ratio < 1 - clip_low: zero policy gradient
  at::Tensor clip_high_count;  ///< tokens with A > 0 and ratio > 1 + clip_high: zero policy gradient
  at::Tensor dual_clip_count;  ///< tokens with A < 0 and ratio > dual_clip
  at::Tensor tis_capped_count;  ///< tokens whose importance weight was cut at tis_cap
  at::Tensor ratio_sum;
  at::Tensor ratio_max;          ///< 0 when there is no trained token
  at::Tensor logprob_error_max;  ///< max |logprobs - rollout_logprobs|, nats
  at::Tensor tokens;             ///< trained tokens
  at::Tensor sequences;          ///< completions with at least one trained token

  /// Sums add, maxima take the larger; an empty (default) one takes the other's. No wait for the device.
  void add(const GrpoStats& other);
};

struct GrpoLoss {
  at::Tensor loss;  ///< 0-dim, dtype of logprobs_N, to be minimised; differentiable in logprobs_N
  GrpoStats stats;
};

/// This micro-batch's share of minus the GRPO objective:
///
///   loss = - sum_j w_j W_j min(r_j A_j, clip(r_j, 1 - clip_low, 1 + clip_high) A_j)  +  beta sum_j w_j KL_j
///
/// r_j, A_j: ratio and advantage of a term (token, or completion with a sequence ratio); W_j the truncated
/// importance weight, a constant (1 when off); w_j the aggregation's weight. KL_j is per token, except for
/// `sequence`, where it is R1's eq. (2): the estimator of the completion's whole log-probability.
///
///   logprobs_N  [N] float32 or float64, the policy's log-probabilities (nats) of the sampled tokens
///
/// The gradient of a clipped term is zero; a ratio exactly on a bound is not clipped. Masked tokens change
/// nothing even if they hold NaN. An empty completion adds zero. Advantages of zero and beta 0 give a
/// gradient of exactly zero. Per-sequence sums use index_add: in a fixed order on a CPU, by atomics on a GPU
/// (last bits may differ between runs).
///
/// Throws c10::Error for wrong shapes or dtypes (bfloat16 log-probabilities are refused: a ratio needs the
/// digits), for a reference that is missing while kl_coef > 0, tis_cap without old_logprobs_N, per-token
/// advantages with a sequence ratio, and denominators smaller than this micro-batch (sequences;
/// constant_length < 1). Source: DeepSeekMath (arXiv:2402.03300) eq. (3), (4); R1 (arXiv:2501.12948v2) eq.
/// (1), (2); DAPO (arXiv:2503.14476) eq. (8), (10), (12); Dr. GRPO (arXiv:2503.20783) section 3.2; GSPO
/// (arXiv:2507.18071) eq. (5), (7).
GrpoLoss grpo_loss(const at::Tensor& logprobs_N, const GrpoBatch& batch, const LossScale& scale,
                   const GrpoLossConfig& config);

}  // namespace r1::algo
