#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace r1::algo {

/// How the divergence of the policy from the reference is estimated from one sample.
enum class KlEstimator { kK1, kK2, kK3 };

/// "k1", "k2" or "k3". Throws c10::Error otherwise (configs are checked before, by GrpoLossConfig::parse).
KlEstimator kl_estimator_from(const std::string& name);
std::string name_of(KlEstimator estimator);

/// Per-element estimate of KL(policy || reference), samples drawn from the policy. With d = reference -
/// policy (log-probabilities, nats):
///
///   k1 = -d               unbiased, may be negative; its gradient's expectation is zero, so it is no penalty
///   k2 = d^2 / 2          biased, never negative
///   k3 = exp(d) - d - 1   unbiased, never negative: what DeepSeekMath and R1 put into the loss
///
///   logprobs            any shape, float32 or float64; carries the gradient
///   reference_logprobs  same shape and dtype; treated as a constant
///
/// Returns the same shape and dtype. Written as expm1(d) - d: exp(d) - d - 1 loses all digits of float32 once
/// |d| is below 2e-4. d is cut at max_log_ratio() inside the exponential, so that it never overflows. Throws
/// c10::Error when shapes or dtypes differ. Source: DeepSeekMath (arXiv:2402.03300) eq. (4), R1
/// (arXiv:2501.12948v2) eq. (2) for k3; the names are J. Schulman's, "Approximating KL divergence" (2020).
at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& reference_logprobs,
                       KlEstimator estimator);

/// Largest log-ratio that is exponentiated: 80 for float32 (its largest number is e^88.7), 700 for float64
/// (e^709.7). Above it the exponential stays at its value there, with zero gradient. Without the cut a ratio
/// of infinity makes NaN out of a clipped token (0 * inf in the backward pass) although the equation says
/// zero.
double max_log_ratio(at::ScalarType dtype);

}  // namespace r1::algo
