#include <ATen/CPUGeneratorImpl.h>

#include "cuda/device_numbers.h"
#include "r1/ops/moe.h"
#include "reference.h"

namespace r1::ops {
namespace {

using test::EmulatedDevice;
using test::expect_device_within_twice_plain;
using test::random_bf16;
using torch::Tensor;

const GateRule kV3{8, 3, 4, 2, true, true, true, 2.5};
const GateRule kV2{6, 2, 3, 2, false, false, false, 16.0};

TEST(DeviceMoe, Gate) {
  torch::manual_seed(1);
  for (const auto& rule : {kV3, kV2}) {
    for (const int64_t N : {0, 1, 37}) {
      const auto bias_E = rule.sigmoid ? 0.1 * torch::randn({rule.num_experts}) : Tensor();
      const auto both = [](const Routes& r) { return torch::cat({r.weights_NK, r.shares_NE}, 1); };
      const auto bias_for = [&](const Tensor& x) { return bias_E.defined() ? bias_E.to(x.scalar_type()) : bias_E; };
      const std::vector<Tensor> inputs{random_bf16({N, rule.num_experts})};
      expect_device_within_twice_plain([&](const auto& x) { return both(ops::moe_gate(x[0], bias_for(x[0]), rule)); },
                                       [&](const auto& x) { return both(ref::moe_gate(x[0], bias_for(x[0]), rule, {})); }, inputs,
                                       torch::kFloat);
      const auto exact = ref::moe_gate(inputs[0], bias_for(inputs[0]), rule, {});
      const EmulatedDevice device;
      EXPECT_TRUE(torch::equal(exact.experts_NK, ops::moe_gate(inputs[0].to(torch::kFloat), bias_E, rule).experts_NK));
      const auto reversed_NK = exact.experts_NK.flip(1).contiguous();
      const auto replayed = ops::moe_gate(inputs[0].to(torch::kBFloat16), bias_E, rule, reversed_NK);
      EXPECT_TRUE(torch::equal(reversed_NK, replayed.experts_NK)) << "routes that were chosen before";
      EXPECT_EQ(replayed.weights_NK.scalar_type(), torch::kFloat);
      EXPECT_LE(test::relative_error(replayed.weights_NK, exact.weights_NK.flip(1)), 1e-6);
      EXPECT_EQ(device.calls().at("moe_gate"), 2);
    }
  }
}

struct Experts {
  int64_t N, K, E, C, F;
  bool one_expert = false;
};

// x, the weights of the routes, and gate, up and down of each expert.
std::vector<Tensor> expert_inputs(const Experts& c) {
  std::vector<Tensor> inputs{random_bf16({c.N, c.C}), torch::rand({c.N, c.K}, torch::kDouble).to(torch::kBFloat16).to(torch::kDouble)};
  for (int64_t e = 0; e < c.E; ++e) {
    const auto width = 1 / std::sqrt(static_cast<double>(c.C)), height = 1 / std::sqrt(static_cast<double>(c.F));
    inputs.insert(inputs.end(), {random_bf16({c.F, c.C}, width), random_bf16({c.F, c.C}, width), random_bf16({c.C, c.F}, height)});
  }
  return inputs;
}

std::vector<ExpertWeights> matrices(const std::vector<Tensor>& x) {
  std::vector<ExpertWeights> out;
  for (size_t i = 2; i + 2 < x.size(); i += 3) out.push_back({x[i], x[i + 1], x[i + 2]});
  return out;
}

Tensor routes(const Experts& c) {
  if (c.one_expert) return torch::full({c.N, c.K}, c.E - 1, torch::kLong);
  return std::get<1>(torch::rand({c.N, c.E}).sort(-1)).narrow(1, 0, c.K).contiguous();
}

// Our products at any number of rows (sm_80), and torch's from 64 rows an expert on (sm_90).
TEST(DeviceMoe, ExpertMlp) {
  torch::manual_seed(2);
  for (const auto& c : {Experts{1, 1, 1, 8, 8}, {19, 2, 5, 24, 16}, {70, 3, 6, 72, 40}, {140, 2, 4, 16, 24}, {40, 1, 4, 16, 8, true}}) {
    const auto inputs = expert_inputs(c);
    const auto experts_NK = routes(c);
    const auto plain = [&](const auto& x) {
      return ref::expert_mlp(x[0], experts_NK, x[1], matrices(x));
    };
    const auto exact = test::evaluate_in(plain, inputs, torch::kDouble), aten = test::evaluate_in(plain, inputs, torch::kBFloat16);
    for (const int capability : {80, 90}) {
      const EmulatedDevice device(capability);
      const auto got = test::evaluate_in([&](const auto& x) { return ops::expert_mlp(x[0], experts_NK, x[1], matrices(x)); }, inputs,
                                         torch::kBFloat16);
      EXPECT_LE(test::relative_error(got.value, exact.value), 2 * test::relative_error(aten.value, exact.value) + 1.0 / 256);
      for (size_t i = 0; i < inputs.size(); ++i) {
        EXPECT_LE(test::relative_error(got.gradients[i], exact.gradients[i]),
                  2 * test::relative_error(aten.gradients[i], exact.gradients[i]) + 1.0 / 256)
            << "gradient " << i << ", N = " << c.N << ", sm_" << capability;
      }
      EXPECT_EQ(device.calls().count("grouped_swiglu"), capability == 80 || c.N * c.K < 64 * c.E ? 1u : 0u);
    }
  }
}

TEST(DeviceMoe, ExpertMlpOfNoRows) {
  const Experts c{0, 2, 3, 8, 8};
  auto inputs = expert_inputs(c);
  for (auto& x : inputs) x = x.to(torch::kBFloat16).requires_grad_(true);
  const EmulatedDevice device;
  ops::expert_mlp(inputs[0], routes(c), inputs[1], matrices(inputs)).sum().backward();
  for (size_t i = 2; i < inputs.size(); ++i) EXPECT_EQ(inputs[i].grad().abs().sum().item<double>(), 0) << i;
}

// A token alone, among others, and without gradients has the same bits: the sampler's are the trainer's.
TEST(DeviceMoe, ARowDoesNotDependOnTheOthers) {
  torch::manual_seed(3);
  const Experts c{150, 3, 4, 64, 24};
  auto inputs = expert_inputs(c);
  for (auto& x : inputs) x = x.to(torch::kBFloat16).requires_grad_(true);
  const auto experts_NK = routes(c);
  const auto weights_NK = torch::rand({c.N, c.K});
  const EmulatedDevice device;
  const auto all = ops::expert_mlp(inputs[0], experts_NK, weights_NK, matrices(inputs)).detach();
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(all, ops::expert_mlp(inputs[0], experts_NK, weights_NK, matrices(inputs))));
  for (const int64_t n : {0, 77, 149}) {
    const auto row = [&](const Tensor& x) { return x.narrow(0, n, 1).contiguous(); };
    EXPECT_TRUE(torch::equal(row(all), ops::expert_mlp(row(inputs[0]), row(experts_NK), row(weights_NK), matrices(inputs)))) << n;
  }
}

TEST(DeviceMoe, AStackHoldsTheExpertsThemselves) {
  torch::manual_seed(4);
  const Experts c{9, 2, 3, 16, 8};
  auto inputs = expert_inputs(c);
  for (auto& x : inputs) x = x.to(torch::kBFloat16).requires_grad_(true);
  const auto experts = matrices(inputs);
  const auto experts_NK = routes(c);
  const EmulatedDevice device;
  const auto apart = stacked_experts(experts);
  EXPECT_FALSE(apart.down_ECF.is_alias_of(inputs[4]));
  const auto before = ops::expert_mlp(inputs[0], experts_NK, inputs[1], experts).detach();
  stack_experts(experts);
  const auto stack = stacked_experts(experts);
  EXPECT_TRUE(stack.gate_up_E2FC.is_alias_of(inputs[2]) && stack.down_ECF.is_alias_of(inputs[4]));
  EXPECT_TRUE(torch::equal(apart.gate_up_E2FC, stack.gate_up_E2FC) && torch::equal(apart.down_ECF, stack.down_ECF));
  const auto y_NC = ops::expert_mlp(inputs[0], experts_NK, inputs[1], experts);
  EXPECT_TRUE(torch::equal(before, y_NC));
  y_NC.sum().backward();
  EXPECT_TRUE(inputs[2].is_leaf() && inputs[2].grad().defined()) << "the handle is the parameter that it was";
  {
    const torch::NoGradGuard no_grad;
    inputs[6].fill_(3);  // up of the second expert
  }
  EXPECT_EQ(stack.gate_up_E2FC[1][c.F][0].item<double>(), 3);
  EXPECT_NE(stack.gate_up_E2FC[1][c.F - 1][0].item<double>(), 3);
  stack_experts(experts);
  EXPECT_TRUE(stacked_experts(experts).down_ECF.is_same(stack.down_ECF) || stacked_experts(experts).down_ECF.is_alias_of(stack.down_ECF));
}

}  // namespace
}  // namespace r1::ops
