#pragma once
#include <torch/torch.h>

#include <functional>
#include <vector>

namespace r1::test {

/// max |a - b| / max |b|, in float64; 0 for two empty tensors.
inline double relative_error(const torch::Tensor& a, const torch::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), "compared shapes differ: ", a.sizes(), " and ", b.sizes());
  if (a.numel() == 0) return 0;
  const auto x = a.to(torch::kDouble), y = b.to(torch::kDouble);
  const double scale = y.abs().max().item<double>();
  return (x - y).abs().max().item<double>() / (scale > 0 ? scale : 1);
}

/// Values and gradients (of the sum of outputs weighted by fixed random numbers) of `fn` at `inputs`.
struct Evaluation {
  torch::Tensor value;
  std::vector<torch::Tensor> gradients;
};
using TensorFn = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

inline Evaluation evaluate(const TensorFn& fn, const std::vector<torch::Tensor>& inputs, torch::Dtype dtype) {
  std::vector<torch::Tensor> leaves;
  for (const auto& x : inputs) {
    leaves.push_back(x.is_floating_point() ? x.detach().to(dtype).clone().requires_grad_(true) : x);
  }
  const auto value = fn(leaves);
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  const auto weights = torch::randn(value.sizes(), generator, torch::kDouble).to(dtype);
  (value * weights).sum().backward();
  Evaluation out{value.detach(), {}};
  for (const auto& leaf : leaves) {
    if (leaf.is_floating_point()) out.gradients.push_back(leaf.grad().defined() ? leaf.grad() : torch::zeros_like(leaf));
  }
  return out;
}

}  // namespace r1::test
