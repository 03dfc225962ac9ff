#include "r1/ops/moe.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "kernels/parallel.h"
#include "r1/ops/expert_rows.h"
#include "r1/ops/ops.h"
#include "reference.h"
#include "support/compare.h"

namespace r1::ops {
namespace {

using test::evaluate;
using test::relative_error;
using torch::Tensor;

GateRule v3(int64_t E, int64_t K, int64_t groups, int64_t kept) {
  return {E, K, groups, kept, true, true, true, 2.5};
}
GateRule v2(int64_t E, int64_t K, int64_t groups, int64_t kept) {
  return {E, K, groups, kept, false, false, false, 16.0};
}

// Two experts per group, three groups, worked by hand: s + b decides, s weighs.
TEST(MoeGate, ChoosesByTheBiasedScoreAndWeighsByThePlainOne) {
  const auto scores = torch::tensor({{0.9, 0.1, 0.6, 0.5, 0.2, 0.3}}, torch::kFloat);
  const auto logits = torch::log(scores / (1 - scores));
  const auto bias = torch::tensor({-0.8, 0.0, 0.0, 0.0, 0.0, 0.4}, torch::kFloat);
  // Biased: .1 .1 | .6 .5 | .2 .7; sums of the two best: .2, 1.1, .9: groups 1 and 2 are kept; best three: 5,
  // 2, 3.
  const auto routes = moe_gate(logits, bias, v3(6, 3, 3, 2));
  EXPECT_TRUE(torch::equal(routes.experts_NK, torch::tensor({{5, 2, 3}}, torch::kLong)));
  EXPECT_LE(relative_error(routes.weights_NK, torch::tensor({{0.3, 0.6, 0.5}}) * 2.5 / 1.4), 1e-6);
  EXPECT_LE(relative_error(routes.shares_NE, scores / 2.6), 1e-6);
}

TEST(MoeGate, GroupsOfTheSoftmaxGateAreRankedByTheirBest) {
  const auto p = torch::tensor({{0.35, 0.01, 0.3, 0.14, 0.1, 0.1}}, torch::kFloat);
  // Best of the groups: .35, .3, .1: the first is kept, though the sum of two is larger in the second.
  const auto routes = moe_gate(p.log(), {}, v2(6, 2, 3, 1));
  EXPECT_TRUE(torch::equal(routes.experts_NK, torch::tensor({{0, 1}}, torch::kLong)));
  EXPECT_LE(relative_error(routes.weights_NK, torch::tensor({{0.35, 0.01}}) * 16), 1e-5);
}

TEST(MoeGate, EqualScoresAreTakenInOrder) {
  const auto routes = moe_gate(torch::zeros({3, 8}), {}, v3(8, 3, 4, 2));
  EXPECT_TRUE(torch::equal(routes.experts_NK, torch::tensor({{0, 1, 2}}, torch::kLong).expand({3, 3})));
}

TEST(MoeGate, ValueAndGradientsMatchAten) {
  torch::manual_seed(1);
  for (const auto& rule : {v3(8, 3, 4, 2), v3(16, 16, 1, 1), v2(6, 2, 3, 2), v2(7, 1, 1, 1)}) {
    for (const int64_t N : {0, 1, 33}) {
      const auto bias = rule.sigmoid ? 0.1 * torch::randn({rule.num_experts}) : Tensor();
      const std::vector<Tensor> inputs{torch::randn({N, rule.num_experts})};
      const auto gate = [&](const std::vector<Tensor>& x, bool plain) {
        const auto b = bias.defined() ? bias.to(x[0].scalar_type()) : bias;
        const auto r = plain ? ref::moe_gate(x[0], b, rule, {}) : moe_gate(x[0], b, rule);
        return torch::cat({r.weights_NK, r.shares_NE}, 1);
      };
      const auto exact = evaluate([&](const auto& x) { return gate(x, true); }, inputs, torch::kDouble);
      const auto aten = evaluate([&](const auto& x) { return gate(x, true); }, inputs, torch::kFloat);
      const auto got = evaluate([&](const auto& x) { return gate(x, false); }, inputs, torch::kFloat);
      EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 2e-7);
      EXPECT_LE(relative_error(got.gradients[0], exact.gradients[0]),
                2 * relative_error(aten.gradients[0], exact.gradients[0]) + 5e-7);
    }
  }
}

std::vector<Tensor> expert_inputs(int64_t N, int64_t K, int64_t E, int64_t C, int64_t F) {
  std::vector<Tensor> inputs{torch::randn({N, C}), torch::rand({N, K})};
  for (int64_t e = 0; e < E; ++e) {
    inputs.push_back(torch::randn({F, C}) / std::sqrt(static_cast<double>(C)));
    inputs.push_back(torch::randn({F, C}) / std::sqrt(static_cast<double>(C)));
    inputs.push_back(torch::randn({C, F}) / std::sqrt(static_cast<double>(F)));
  }
  return inputs;
}

std::vector<ExpertWeights> matrices(const std::vector<Tensor>& x) {
  std::vector<ExpertWeights> out;
  for (size_t i = 2; i + 2 < x.size(); i += 3) out.push_back({x[i], x[i + 1], x[i + 2]});
  return out;
}

Tensor random_experts(int64_t N, int64_t K, int64_t E) {
  return std::get<1>(torch::rand({N, E}).sort(-1)).narrow(1, 0, K).contiguous();
}

TEST(ExpertMlp, ValueAndGradientsMatchAten) {
  torch::manual_seed(2);
  struct Case {
    int64_t N, K, E, C, F;
    bool one_expert;
  };
  for (const auto& c : {Case{0, 2, 3, 8, 5, false},
                        {1, 1, 1, 4, 4, false},
                        {19, 2, 5, 24, 7, false},
                        {70, 3, 6, 33, 40, false},
                        {40, 1, 4, 16, 12, true}}) {
    const auto inputs = expert_inputs(c.N, c.K, c.E, c.C, c.F);
    const auto experts =
        c.one_expert ? torch::full({c.N, c.K}, 2, torch::kLong) : random_experts(c.N, c.K, c.E);
    const test::TensorFn plain = [&](const auto& x) {
      return ref::expert_mlp(x[0], experts, x[1], matrices(x));
    };
    const auto exact = evaluate(plain, inputs, torch::kDouble), aten = evaluate(plain, inputs, torch::kFloat);
    const auto got = evaluate([&](const auto& x) { return expert_mlp(x[0], experts, x[1], matrices(x)); },
                              inputs, torch::kFloat);
    EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 3e-7);
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]),
                2 * relative_error(aten.gradients[i], exact.gradients[i]) + 5e-7)
          << "gradient " << i << " N=" << c.N;
    }
  }
}

// A token's result has the same bits alone, in a batch, on one thread, from packed weights.
TEST(ExpertMlp, ARowDoesNotDependOnTheOthers) {
  torch::manual_seed(3);
  const int64_t N = 200, K = 3, E = 8, C = 48, F = 20;
  const auto inputs = expert_inputs(N, K, E, C, F);
  const auto experts = random_experts(N, K, E);
  const auto weights = matrices(inputs);
  const auto batch = expert_mlp(inputs[0], experts, inputs[1], weights);
  std::vector<PackedWeight> packed(static_cast<size_t>(3 * E));
  auto with_packed = weights;
  for (size_t e = 0; e < with_packed.size(); ++e) {
    with_packed[e].packed_gate = &packed[3 * e];
    with_packed[e].packed_up = &packed[3 * e + 1];
    with_packed[e].packed_down = &packed[3 * e + 2];
  }
  {
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(torch::equal(batch, expert_mlp(inputs[0], experts, inputs[1], with_packed)));
  }
  kernels::set_num_threads(1);
  EXPECT_TRUE(torch::equal(batch, expert_mlp(inputs[0], experts, inputs[1], weights)));
  kernels::set_num_threads(0);
  for (const int64_t n : {0, 7, 199}) {
    const auto row = [&](const Tensor& x) { return x.narrow(0, n, 1).contiguous(); };
    EXPECT_TRUE(torch::equal(row(batch), expert_mlp(row(inputs[0]), row(experts), row(inputs[1]), weights)))
        << n;
  }
}

// What one rank computes whole, three parts of the tokens and two of the experts compute apart: the same bits, forward and backward.
TEST(ExpertRows, PartsGiveTheBitsOfTheWhole) {
  torch::manual_seed(4);
  const int64_t N = 61, K = 3, E = 7, C = 40, F = 24, split = 3;
  auto inputs = expert_inputs(N, K, E, C, F);
  for (auto& x : inputs) x.requires_grad_(true);
  const auto experts = random_experts(N, K, E);
  const auto weights = matrices(inputs);
  const auto whole = expert_mlp(inputs[0], experts, inputs[1], weights);
  const auto dy = torch::randn_like(whole);
  whole.backward(dy);

  const torch::NoGradGuard no_grad;
  const ExpertPairs pairs(experts, E);
  int64_t first_half = 0;
  for (int64_t e = 0; e < split; ++e) first_half += pairs.counts()[static_cast<size_t>(e)];
  const auto rows = pairs.rows(inputs[0]), drows = pairs.rows(dy), w = pairs.weights(inputs[1]);
  std::vector<Tensor> outputs, dx, dw;
  for (const bool second : {false, true}) {
    const int64_t begin = second ? first_half : 0, count = second ? N * K - first_half : first_half, first = second ? split : 0;
    const int64_t last = second ? E : split;
    std::vector<int64_t> ids;
    for (int64_t e = first; e < last; ++e) ids.insert(ids.end(), static_cast<size_t>(pairs.counts()[static_cast<size_t>(e)]), e - first);
    const ExpertRows part(rows.narrow(0, begin, count), torch::tensor(ids, torch::kLong), {weights.begin() + first, weights.begin() + last}, true);
    outputs.push_back(part.outputs_SC());
    const auto gradients = part.backward(drows.narrow(0, begin, count), w.narrow(0, begin, count));
    dx.push_back(gradients.x_SC);
    dw.push_back(gradients.weights_S);
    for (int64_t i = 0; i < 3 * (last - first); ++i) {
      EXPECT_TRUE(torch::equal(gradients.matrices[static_cast<size_t>(i)], inputs[static_cast<size_t>(2 + 3 * first + i)].grad())) << i;
    }
  }
  EXPECT_TRUE(torch::equal(pairs.sum(torch::cat(outputs), inputs[1]), whole));
  EXPECT_TRUE(torch::equal(pairs.sum(torch::cat(dx), {}), inputs[0].grad()));
  EXPECT_TRUE(torch::equal(pairs.by_token(torch::cat(dw)), inputs[1].grad()));
}

TEST(ExpertMlp, RefusesAnExpertThatIsNotThere) {
  const auto inputs = expert_inputs(2, 1, 3, 4, 4);
  EXPECT_THROW(expert_mlp(inputs[0], torch::full({2, 1}, 3, torch::kLong), inputs[1], matrices(inputs)),
               c10::Error);
}

TEST(ExpertCounts, AddUpToTheRoutedPairs) {
  const auto experts = torch::tensor({{0, 2}, {2, 3}, {2, 0}}, torch::kLong);
  EXPECT_TRUE(torch::equal(expert_counts(experts, 5), torch::tensor({2, 0, 3, 1, 0}, torch::kLong)));
}

// Even loads with even shares give 1 per sequence; all tokens to the experts that hold all shares gives E /
// K.
TEST(SequenceBalance, IsOneForEvenLoadsAndLargestForOneSided) {
  PackedLayout layout;
  layout.add_sequence(4);
  layout.finish();
  const auto even = torch::tensor({{0, 1}, {2, 3}, {1, 0}, {3, 2}}, torch::kLong);
  EXPECT_NEAR(1.0, sequence_balance(torch::full({4, 4}, 0.25), even, layout).item<double>(), 1e-6);
  const auto one_sided = torch::tensor({{0, 1}}, torch::kLong).expand({4, 2}).contiguous();
  const auto shares = torch::tensor({{0.5, 0.5, 0.0, 0.0}}).expand({4, 4}).contiguous();
  EXPECT_NEAR(2.0, sequence_balance(shares, one_sided, layout).item<double>(), 1e-6);
}

TEST(SequenceBalance, CountsASharedPromptInEachOfItsSequences) {
  torch::manual_seed(4);
  PackedLayout shared;
  const auto prompt = shared.add_sequence(3);
  shared.add_continuation(prompt, 5);
  shared.add_continuation(prompt, 2);
  shared.add_sequence(4);
  shared.finish();
  const auto shares = torch::rand({14, 6}).softmax(-1);
  const auto experts = random_experts(14, 2, 6);
  double apart = 0;
  for (const auto& rows :
       std::vector<std::vector<int64_t>>{{0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 8, 9}, {10, 11, 12, 13}}) {
    PackedLayout alone;
    alone.add_sequence(static_cast<int64_t>(rows.size()));
    alone.finish();
    const auto index = torch::tensor(rows, torch::kLong);
    apart +=
        sequence_balance(shares.index_select(0, index), experts.index_select(0, index), alone).item<double>();
  }
  EXPECT_NEAR(apart, sequence_balance(shares, experts, shared).item<double>(), 1e-5);
}

TEST(HeadProduct, ValueAndGradientsMatchAten) {
  torch::manual_seed(5);
  for (const int64_t N : {0, 1, 37}) {
    for (const bool turned : {false, true}) {
      const int64_t H = 3, I = 10, O = 18;
      const std::vector<Tensor> inputs{torch::randn({N, H, I}),
                                       turned ? torch::randn({H, O, I}) : torch::randn({H, I, O})};
      const auto view = [&](const Tensor& w) { return turned ? w.transpose(1, 2) : w; };
      const test::TensorFn plain = [&](const auto& x) { return ref::head_product(x[0], view(x[1])); };
      const auto exact = evaluate(plain, inputs, torch::kDouble);
      const auto got =
          evaluate([&](const auto& x) { return head_product(x[0], view(x[1])); }, inputs, torch::kFloat);
      EXPECT_LE(relative_error(got.value, exact.value), 1e-6);
      for (size_t i = 0; i < 2; ++i)
        EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]), 1e-6) << i;
    }
  }
}

}  // namespace
}  // namespace r1::ops
