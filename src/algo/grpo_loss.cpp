#include "r1/algo/grpo_loss.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

namespace r1::algo {
namespace {

using at::Tensor;

void check_vector(const char* name, const Tensor& x, const Tensor& logprobs_N) {
  TORCH_CHECK(x.sizes() == logprobs_N.sizes(), "grpo_loss: ", name, " has shape ", x.sizes(), ", logprobs ",
              logprobs_N.sizes());
  TORCH_CHECK(x.scalar_type() == logprobs_N.scalar_type(), "grpo_loss: ", name, " is ", x.scalar_type(),
              ", logprobs ", logprobs_N.scalar_type());
}

void check(const Tensor& logprobs_N, const GrpoBatch& b, const LossScale& scale,
           const GrpoLossConfig& config) {
  TORCH_CHECK(logprobs_N.defined() && logprobs_N.dim() == 1, "grpo_loss: logprobs must be [N]");
  TORCH_CHECK(logprobs_N.scalar_type() == at::kFloat || logprobs_N.scalar_type() == at::kDouble,
              "grpo_loss: logprobs are ", logprobs_N.scalar_type(), "; accepted: float32, float64");
  TORCH_CHECK(b.rollout_logprobs_N.defined(), "grpo_loss: rollout_logprobs are missing");
  check_vector("rollout_logprobs", b.rollout_logprobs_N, logprobs_N);
  if (b.old_logprobs_N.defined()) check_vector("old_logprobs", b.old_logprobs_N, logprobs_N);
  TORCH_CHECK(config.tis_cap == 0 || b.old_logprobs_N.defined(), "grpo_loss: tis_cap is ", config.tis_cap,
              ", but old_logprobs (the old policy as the trainer computes it) are missing");
  TORCH_CHECK(config.kl_coef == 0 || b.reference_logprobs_N.defined(), "grpo_loss: kl_coef is ",
              config.kl_coef, ", but reference_logprobs are missing");
  if (b.reference_logprobs_N.defined())
    check_vector("reference_logprobs", b.reference_logprobs_N, logprobs_N);

  TORCH_CHECK(b.sequence_N.defined() && b.sequence_N.sizes() == logprobs_N.sizes() &&
                  b.sequence_N.scalar_type() == at::kLong,
              "grpo_loss: sequence must be an int64 [N] with N = ", logprobs_N.size(0));
  TORCH_CHECK(b.mask_N.defined() && b.mask_N.sizes() == logprobs_N.sizes(),
              "grpo_loss: mask must be [N] with N = ", logprobs_N.size(0));
  TORCH_CHECK(
      b.advantages_M.defined() != b.advantages_N.defined(),
      "grpo_loss: exactly one of advantages_M (per completion) and advantages_N (per token) is needed");
  if (b.advantages_N.defined()) {
    check_vector("advantages_N", b.advantages_N, logprobs_N);
    TORCH_CHECK(config.ratio_level == RatioLevel::kToken, "grpo_loss: a sequence ratio needs advantages_M");
  } else {
    TORCH_CHECK(b.advantages_M.dim() == 1 && b.advantages_M.size(0) == b.num_sequences &&
                    b.advantages_M.scalar_type() == logprobs_N.scalar_type(),
                "grpo_loss: advantages_M must be a ", logprobs_N.scalar_type(),
                " [M] with M = ", b.num_sequences, ", got ", b.advantages_M.scalar_type(), " ",
                b.advantages_M.sizes());
  }
  TORCH_CHECK(config.aggregation != Aggregation::kSequence || config.ratio_level != RatioLevel::kToken,
              "grpo_loss: aggregation sequence needs a sequence ratio");
  TORCH_CHECK(config.aggregation == Aggregation::kToken || scale.num_sequences_step >= b.num_sequences,
              "grpo_loss: num_sequences_step is ", scale.num_sequences_step, ", this micro-batch alone has ",
              b.num_sequences);
  TORCH_CHECK(config.aggregation != Aggregation::kConstant || scale.constant_length >= 1,
              "grpo_loss: constant_length is ", scale.constant_length, "; accepted: 1 or more");
}

/// The micro-batch with masked tokens made harmless, and sums over sequences.
class Sequences {
 public:
  Sequences(const GrpoBatch& b, at::ScalarType dtype)
      : trained_N(b.mask_N.to(at::kBool)), index_N_(b.sequence_N), num_sequences_(b.num_sequences) {
    mask_N = trained_N.to(dtype);
    length_M = sum(mask_N);
  }

  /// 0 at masked tokens, in value and in gradient, whatever is there (also NaN).
  Tensor clean(const Tensor& x_N) const { return at::where(trained_N, x_N, at::zeros({}, x_N.options())); }
  Tensor sum(const Tensor& x_N) const {
    return at::zeros({num_sequences_}, x_N.options()).index_add(0, index_N_, x_N);
  }
  Tensor to_tokens(const Tensor& x_M) const { return x_M.index_select(0, index_N_); }

  Tensor trained_N, mask_N, length_M;

 private:
  Tensor index_N_;
  int64_t num_sequences_;
};

/// Weight of a token's term in the loss; a completion's tokens with one shared value sum to the weight of
/// weights_M.
Tensor weights_N(const Sequences& s, const LossScale& scale, Aggregation aggregation) {
  const double num_sequences = std::max<int64_t>(scale.num_sequences_step, 1);
  switch (aggregation) {
    case Aggregation::kSequence:
    case Aggregation::kTokenInSequence:
      return s.mask_N / (s.to_tokens(s.length_M).clamp_min(1.0) * num_sequences);
    case Aggregation::kToken:
      return s.mask_N / static_cast<double>(std::max<int64_t>(scale.num_tokens_step, 1));
    case Aggregation::kConstant:
      return s.mask_N / (num_sequences * static_cast<double>(scale.constant_length));
  }
  TORCH_INTERNAL_ASSERT(false, "aggregation ", static_cast<int>(aggregation));
}

/// Weight of a completion whose tokens share one term: the sum of its weights_N, written without rounding
/// twice.
Tensor weights_M(const Sequences& s, const LossScale& scale, Aggregation aggregation) {
  const double num_sequences = std::max<int64_t>(scale.num_sequences_step, 1);
  switch (aggregation) {
    case Aggregation::kSequence:
    case Aggregation::kTokenInSequence:
      return s.length_M.clamp_max(1.0) / num_sequences;
    case Aggregation::kToken:
      return s.length_M / static_cast<double>(std::max<int64_t>(scale.num_tokens_step, 1));
    case Aggregation::kConstant:
      return s.length_M / (num_sequences * static_cast<double>(scale.constant_length));
  }
  TORCH_INTERNAL_ASSERT(false, "aggregation ", static_cast<int>(aggregation));
}

/// log-ratio of the terms: of tokens [N] or of sequences [M].
Tensor at_level(const Sequences& s, const Tensor& log_ratio_N, RatioLevel level) {
  if (level == RatioLevel::kToken) return log_ratio_N;
  const auto sum_M = s.sum(log_ratio_N);
  return level == RatioLevel::kSequenceMean ? sum_M / s.length_M.clamp_min(1.0) : sum_M;
}

/// Counts and maxima as 0-dim float64.
Tensor total(const Tensor& x) { return x.detach().to(at::kDouble).sum(); }
Tensor maximum(const Tensor& x) {
  return x.numel() == 0 ? at::zeros({}, x.options().dtype(at::kDouble)) : x.detach().amax().to(at::kDouble);
}

}  // namespace

void GrpoStats::add(const GrpoStats& other) {
  if (!tokens.defined()) {
    *this = other;
    return;
  }
  if (!other.tokens.defined()) return;
  const at::NoGradGuard no_grad;
  for (const auto sum :
       {&GrpoStats::policy_loss, &GrpoStats::kl_loss, &GrpoStats::kl_sum, &GrpoStats::entropy_sum,
        &GrpoStats::clip_low_count, &GrpoStats::clip_high_count, &GrpoStats::dual_clip_count,
        &GrpoStats::tis_capped_count, &GrpoStats::ratio_sum, &GrpoStats::tokens, &GrpoStats::sequences}) {
    this->*sum = this->*sum + other.*sum;
  }
  for (const auto max : {&GrpoStats::ratio_max, &GrpoStats::logprob_error_max}) {
    this->*max = at::maximum(this->*max, other.*max);
  }
}

GrpoLoss grpo_loss(const Tensor& logprobs_N, const GrpoBatch& batch, const LossScale& scale,
                   const GrpoLossConfig& config) {
  check(logprobs_N, batch, scale, config);
  const auto dtype = logprobs_N.scalar_type();
  const bool per_token = config.ratio_level == RatioLevel::kToken;
  const Sequences s(batch, dtype);
  const auto policy_N = s.clean(logprobs_N);
  const auto rollout_N = s.clean(batch.rollout_logprobs_N.detach());
  const auto old_N = batch.old_logprobs_N.defined() ? s.clean(batch.old_logprobs_N.detach()) : rollout_N;

  // Policy term: min(r A, clip(r) A) is r A with r replaced by its bound where clipping lowers the product.
  // Written with masks instead of minimum(), whose gradient at a tie is halved between both sides.
  const auto log_ratio = at_level(s, policy_N - old_N, config.ratio_level);
  const auto ratio = log_ratio.clamp_max(max_log_ratio(dtype)).exp();
  const auto advantages = !per_token                     ? batch.advantages_M.detach()
                          : batch.advantages_N.defined() ? s.clean(batch.advantages_N.detach())
                                                         : s.clean(s.to_tokens(batch.advantages_M.detach()));
  const auto positive = advantages > 0, negative = advantages < 0;
  const auto clipped_high = positive & (ratio > 1.0 + config.clip_high);
  const auto clipped_low = negative & (ratio < 1.0 - config.clip_low);
  auto bounded =
      ratio.masked_fill(clipped_high, 1.0 + config.clip_high).masked_fill(clipped_low, 1.0 - config.clip_low);
  auto dual_clipped = at::zeros_like(negative);
  if (config.dual_clip > 0) {
    dual_clipped = negative & (ratio > config.dual_clip);
    bounded = bounded.masked_fill(dual_clipped, config.dual_clip);
  }
  auto objective = bounded * advantages;
  auto capped = at::zeros_like(negative);
  if (config.tis_cap > 0) {
    const auto log_weight = at_level(s, old_N - rollout_N, config.ratio_level);
    capped = log_weight > std::log(config.tis_cap);
    objective = objective * log_weight.exp().clamp_max(config.tis_cap);
  }
  const auto weights =
      per_token ? weights_N(s, scale, config.aggregation) : weights_M(s, scale, config.aggregation);
  const auto policy_loss = -(weights * objective).sum();

  // KL term.
  auto kl_N = at::zeros_like(s.mask_N), kl_loss = at::zeros({}, s.mask_N.options());
  if (batch.reference_logprobs_N.defined()) {
    const auto reference_N = s.clean(batch.reference_logprobs_N);
    kl_N = kl_estimate(policy_N, reference_N, config.kl_estimator);
    kl_loss = config.aggregation == Aggregation::kSequence
                  ? (weights * kl_estimate(s.sum(policy_N), s.sum(reference_N), config.kl_estimator)).sum()
                  : (weights_N(s, scale, config.aggregation) * kl_N).sum();
  }

  GrpoLoss result;
  result.loss = config.kl_coef > 0 ? policy_loss + config.kl_coef * kl_loss : policy_loss;

  const at::NoGradGuard no_grad;
  const auto tokens = per_token ? s.mask_N : s.length_M;  // trained tokens per term
  auto& stats = result.stats;
  stats.policy_loss = total(policy_loss);
  stats.kl_loss = total(kl_loss);
  stats.kl_sum = total(kl_N);
  stats.entropy_sum = total(-policy_N);
  stats.clip_low_count = total(tokens * clipped_low);
  stats.clip_high_count = total(tokens * clipped_high);
  stats.dual_clip_count = total(tokens * dual_clipped);
  stats.tis_capped_count = total(tokens * capped);
  stats.ratio_sum = total(tokens * ratio);
  stats.ratio_max = maximum(ratio.masked_fill(tokens == 0, 0.0));
  stats.logprob_error_max = maximum((policy_N - rollout_N).abs());
  stats.tokens = total(s.mask_N);
  stats.sequences = total(s.length_M > 0);
  return result;
}

}  // namespace r1::algo
