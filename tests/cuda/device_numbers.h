#pragma once
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <vector>

#include "support/compare.h"
#include "support/emulated_device.h"

// Operations on the emulated device against the float64 twin, forward and backward.
namespace r1::test {

using TensorFn = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

/// Numbers that bf16 holds exactly, in float64: every dtype starts from the same inputs.
inline torch::Tensor random_bf16(at::IntArrayRef sizes, double scale = 1) {
  return (torch::randn(sizes, torch::kDouble) * scale).to(torch::kBFloat16).to(torch::kDouble);
}

/// fn at `inputs` in `dtype` (integers and those of `keep_float` as they are, in float32 at least), and the gradients of
/// sum(value * weights) with fixed weights that bf16 holds exactly.
inline Evaluation evaluate_in(const TensorFn& fn, const std::vector<torch::Tensor>& inputs, torch::Dtype dtype) {
  std::vector<torch::Tensor> leaves;
  for (const auto& x : inputs) {
    leaves.push_back(x.is_floating_point() ? x.to(dtype).detach().clone().requires_grad_(true) : x);
  }
  const auto value = fn(leaves);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  value.backward(torch::randn(value.sizes(), generator, torch::kDouble).to(torch::kBFloat16).to(value.scalar_type()));
  Evaluation out{value.detach(), {}};
  for (const auto& leaf : leaves) {
    if (leaf.is_floating_point()) out.gradients.push_back(leaf.grad().defined() ? leaf.grad() : torch::zeros_like(leaf));
  }
  return out;
}

/// Ours on the emulated device errs at most twice as much as the plain twin in the same dtype, plus one rounding of it.
inline void expect_device_within_twice_plain(const TensorFn& ours, const TensorFn& plain, const std::vector<torch::Tensor>& inputs,
                                             torch::Dtype dtype) {
  const double rounding = dtype == torch::kBFloat16 ? 1.0 / 256 : 3e-7;
  const auto exact = evaluate_in(plain, inputs, torch::kDouble);
  const auto aten = evaluate_in(plain, inputs, dtype);
  Evaluation got;
  {
    const EmulatedDevice device;
    got = evaluate_in(ours, inputs, dtype);
  }
  EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + rounding) << dtype;
  for (size_t i = 0; i < exact.gradients.size(); ++i) {
    EXPECT_EQ(got.gradients[i].scalar_type(), dtype);
    EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]),
              2 * relative_error(aten.gradients[i], exact.gradients[i]) + rounding)
        << "gradient " << i << " " << dtype;
  }
}

}  // namespace r1::test
