#include "r1/algo/kl.h"

#include <torch/torch.h>

namespace r1::algo {

KlEstimator kl_estimator_from(const std::string& name) {
  if (name == "k1") return KlEstimator::kK1;
  if (name == "k2") return KlEstimator::kK2;
  if (name == "k3") return KlEstimator::kK3;
  TORCH_CHECK(false, "KL estimator is '", name, "'; accepted: k1, k2, k3");
}

std::string name_of(KlEstimator estimator) {
  switch (estimator) {
    case KlEstimator::kK1:
      return "k1";
    case KlEstimator::kK2:
      return "k2";
    case KlEstimator::kK3:
      return "k3";
  }
  TORCH_INTERNAL_ASSERT(false, "KL estimator ", static_cast<int>(estimator));
}

double max_log_ratio(at::ScalarType dtype) { return dtype == at::kDouble ? 700.0 : 80.0; }

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& reference_logprobs,
                       KlEstimator estimator) {
  TORCH_CHECK(logprobs.sizes() == reference_logprobs.sizes(), "kl_estimate: logprobs have shape ",
              logprobs.sizes(), ", reference_logprobs ", reference_logprobs.sizes());
  TORCH_CHECK(logprobs.scalar_type() == reference_logprobs.scalar_type(), "kl_estimate: logprobs are ",
              logprobs.scalar_type(), ", reference_logprobs ", reference_logprobs.scalar_type());
  const auto d = reference_logprobs.detach() - logprobs;
  switch (estimator) {
    case KlEstimator::kK1:
      return -d;
    case KlEstimator::kK2:
      return 0.5 * d * d;
    case KlEstimator::kK3:
      return at::expm1(d.clamp_max(max_log_ratio(d.scalar_type()))) - d;
  }
  TORCH_INTERNAL_ASSERT(false, "KL estimator ", static_cast<int>(estimator));
}

}  // namespace r1::algo
