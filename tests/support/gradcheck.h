#pragma once
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

// Compares autograd with central differences: LibTorch's C++ API has no gradcheck.
namespace r1::test {

struct GradcheckOptions {
  double step = 1e-6;  ///< h of (f(x + h) - f(x - h)) / 2h; its error is about h^2 |f'''| + 1e-16 |f| / h
  double absolute = 1e-7;
  double relative = 1e-6;
};

namespace gradcheck_detail {

using Function = std::function<std::vector<torch::Tensor>(const std::vector<torch::Tensor>&)>;

/// sum_o sum(weights_o * output_o): one number whose gradient sees every entry of the Jacobian.
inline double weighted_sum(const Function& f, const std::vector<torch::Tensor>& inputs,
                           const std::vector<torch::Tensor>& weights) {
  const torch::NoGradGuard no_grad;
  const auto outputs = f(inputs);
  double sum = 0;
  for (size_t o = 0; o < weights.size(); ++o) {
    if (weights[o].defined()) sum += (weights[o] * outputs[o]).sum().item<double>();
  }
  return sum;
}

inline std::string compare(const torch::Tensor& analytic, const torch::Tensor& numeric, size_t input,
                           const char* incoming, const GradcheckOptions& options) {
  const auto a = analytic.contiguous().view({-1}), n = numeric.contiguous().view({-1});
  for (int64_t i = 0; i < n.numel(); ++i) {
    const double got = a[i].item<double>(), expected = n[i].item<double>();
    // Written so that NaN fails.
    if (!(std::abs(got - expected) <= options.absolute + options.relative * std::abs(expected))) {
      std::ostringstream out;
      out.precision(12);
      out << "input " << input << ", entry " << i << " of " << numeric.sizes() << ": autograd " << got
          << ", central difference " << expected << " (incoming gradient: " << incoming << ")";
      return out.str();
    }
  }
  return "";
}

}  // namespace gradcheck_detail

/// Checks d(outputs)/d(inputs) of every float64 input that requires grad, all entries, for these incoming
/// gradients: random ones; ones as a stride-0 view (what sum() sends); and, with several outputs, each output
/// alone, so that the other outputs' incoming gradients are undefined.
///
/// `f` must be deterministic and must not keep state. Inputs are changed in place during the check and
/// restored.
///   EXPECT_TRUE(gradcheck([&](const auto& x) { return std::vector{ops::rms_norm(x[0], x[1], eps)}; }, {x,
///   w}));
inline testing::AssertionResult gradcheck(const gradcheck_detail::Function& f,
                                          std::vector<torch::Tensor> inputs,
                                          const GradcheckOptions& options = {}) {
  using torch::Tensor;
  for (auto& x : inputs) {
    if (!x.defined() || !x.requires_grad()) continue;
    if (x.scalar_type() != torch::kDouble || !x.is_leaf()) {
      return testing::AssertionFailure() << "gradcheck: inputs that require grad must be float64 leaves";
    }
  }
  const auto first = f(inputs);
  const auto shape_of = [&](size_t o) { return torch::ones({}, torch::kDouble).expand(first[o].sizes()); };
  struct Case {
    const char* incoming;
    std::vector<Tensor> weights;
  };
  std::vector<Case> cases(2);
  cases[0].incoming = "random";
  cases[1].incoming = "stride-0 ones";
  auto generator = at::make_generator<at::CPUGeneratorImpl>(20240217);
  for (size_t o = 0; o < first.size(); ++o) {
    const bool differentiable = first[o].defined() && first[o].requires_grad();
    cases[0].weights.push_back(differentiable ? torch::randn(first[o].sizes(), generator, torch::kDouble)
                                              : Tensor());
    cases[1].weights.push_back(differentiable ? shape_of(o) : Tensor());
  }
  if (first.size() > 1) {
    for (size_t o = 0; o < first.size(); ++o) {
      if (!cases[0].weights[o].defined()) continue;
      Case alone{"one output alone", std::vector<Tensor>(first.size())};
      alone.weights[o] = cases[0].weights[o];
      cases.push_back(alone);
    }
  }

  for (const auto& c : cases) {
    for (auto& x : inputs) {
      if (x.defined() && x.requires_grad()) x.mutable_grad() = Tensor();
    }
    const auto outputs = f(inputs);
    std::vector<Tensor> roots, incoming;
    for (size_t o = 0; o < outputs.size(); ++o) {
      if (!c.weights[o].defined()) continue;
      roots.push_back(outputs[o]);
      incoming.push_back(c.weights[o]);
    }
    if (roots.empty()) return testing::AssertionFailure() << "gradcheck: no output requires grad";
    torch::autograd::backward(roots, incoming);

    for (size_t i = 0; i < inputs.size(); ++i) {
      auto& x = inputs[i];
      if (!x.defined() || !x.requires_grad()) continue;
      const auto analytic = x.grad().defined() ? x.grad().clone() : torch::zeros_like(x);
      auto numeric = torch::zeros(x.sizes(), torch::kDouble);
      const torch::NoGradGuard no_grad;
      auto flat = x.view({-1}), numeric_flat = numeric.view({-1});
      for (int64_t k = 0; k < flat.numel(); ++k) {
        const double kept = flat[k].item<double>();
        flat[k] = kept + options.step;
        const double above = gradcheck_detail::weighted_sum(f, inputs, c.weights);
        flat[k] = kept - options.step;
        const double below = gradcheck_detail::weighted_sum(f, inputs, c.weights);
        flat[k] = kept;
        numeric_flat[k] = (above - below) / (2 * options.step);
      }
      const auto difference = gradcheck_detail::compare(analytic, numeric, i, c.incoming, options);
      if (!difference.empty()) return testing::AssertionFailure() << "gradcheck: " << difference;
    }
  }
  for (auto& x : inputs) {
    if (x.defined() && x.requires_grad()) x.mutable_grad() = Tensor();
  }
  return testing::AssertionSuccess();
}

/// The same for a function with one output.
inline testing::AssertionResult gradcheck(
    const std::function<torch::Tensor(const std::vector<torch::Tensor>&)>& f,
    std::vector<torch::Tensor> inputs, const GradcheckOptions& options = {}) {
  const gradcheck_detail::Function many = [&f](const std::vector<torch::Tensor>& x) {
    return std::vector<torch::Tensor>{f(x)};
  };
  return gradcheck(many, std::move(inputs), options);
}

}  // namespace r1::test
