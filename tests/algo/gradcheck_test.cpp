#include "support/gradcheck.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace r1::test {
namespace {

/// y = scale * x with a backward pass that is wrong in the way asked for.
struct Scaled : torch::autograd::Function<Scaled> {
  static torch::Tensor forward(torch::autograd::AutogradContext* ctx, const torch::Tensor& x,
                               double backward_scale, bool reads_raw_memory) {
    ctx->saved_data["scale"] = backward_scale;
    ctx->saved_data["raw"] = reads_raw_memory;
    return 3.0 * x;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    auto grad = grads[0];
    if (ctx->saved_data["raw"].toBool() && !grad.is_contiguous())
      grad = torch::zeros(grad.sizes(), grad.options());
    return {ctx->saved_data["scale"].toDouble() * grad, {}, {}};
  }
};

torch::Tensor input() { return torch::linspace(-1.0, 1.0, 6, torch::kDouble).view({2, 3}).requires_grad_(); }

TEST(Gradcheck, AcceptsARightGradient) {
  EXPECT_TRUE(gradcheck([](const auto& x) { return Scaled::apply(x[0], 3.0, false); }, {input()}));
  EXPECT_TRUE(gradcheck([](const auto& x) { return (x[0].sin() * x[1]).sum(0); }, {input(), input()}));
}

TEST(Gradcheck, RejectsAWrongGradient) {
  EXPECT_FALSE(gradcheck([](const auto& x) { return Scaled::apply(x[0], 3.001, false); }, {input()}));
}

TEST(Gradcheck, RejectsABackwardThatMishandlesAStrideZeroGradient) {
  EXPECT_FALSE(gradcheck([](const auto& x) { return Scaled::apply(x[0], 3.0, true); }, {input()}));
}

TEST(Gradcheck, RejectsNaN) {
  EXPECT_FALSE(gradcheck([](const auto& x) { return (x[0] - x[0].detach()).sqrt(); }, {input()}));
}

TEST(Gradcheck, ChecksSeveralOutputsTogetherAndAlone) {
  EXPECT_TRUE(gradcheck(
      [](const std::vector<torch::Tensor>& x) { return std::vector<torch::Tensor>{x[0].exp(), x[0].sum()}; },
      {input()}));
}

TEST(Gradcheck, LeavesInputsAsTheyWere) {
  const auto x = input(), before = x.detach().clone();
  EXPECT_TRUE(gradcheck([](const auto& v) { return v[0].cos(); }, {x}));
  EXPECT_TRUE(torch::equal(x.detach(), before));
  EXPECT_FALSE(x.grad().defined());
}

}  // namespace
}  // namespace r1::test
