#include "r1/train/expert_balance.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/train/text_stage.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::tiny_mixture;
using test::value_of;

model::RoutingPtr routed(const std::vector<int64_t>& experts) {
  auto routing = std::make_shared<model::Routing>();
  routing->experts = {torch::tensor(experts, torch::kLong).view({-1, 2})};
  return routing;
}

// Expert 0 gets three of eight pairs, 1 two, 2 to 4 one, 5 to 7 none; the mean is one.
TEST(ExpertBalance, MovesEachBiasAgainstItsLoadOfTheWholeStep) {
  const auto model = tiny_mixture();
  ExpertBalance balance(model, {.bias_rate = 0.01});
  balance.add(routed({0, 1, 0, 2}));
  balance.add(routed({0, 1, 3, 4}));
  balance.update_biases({}, 0);
  const auto& bias = model->expert_layers()[0]->gate->e_score_correction_bias;
  EXPECT_TRUE(torch::equal(bias, torch::tensor({-0.01F, -0.01F, 0.0F, 0.0F, 0.0F, 0.01F, 0.01F, 0.01F})));
  Metrics metrics;
  balance.report(metrics);
  EXPECT_EQ(value_of(metrics, "expert_load_max"), 3);
  EXPECT_EQ(value_of(metrics, "expert_load_layer1_1"), 2);
  EXPECT_NEAR(value_of(metrics, "expert_bias_max"), 0.01, 1e-9);
  balance.update_biases({}, 0);  // no pair since: nothing moves
  EXPECT_NEAR(bias.abs().sum().item<double>(), 0.05, 1e-7);
}

TEST(ExpertBalance, FrozenBiasesStay) {
  const auto model = tiny_mixture();
  ExpertBalance balance(model, {.bias_rate = 0});
  balance.add(routed({0, 1}));
  balance.update_biases({}, 0);
  EXPECT_EQ(model->expert_layers()[0]->gate->e_score_correction_bias.abs().max().item<float>(), 0);
}

TEST(ExpertBalance, ADenseModelHasNoFigures) {
  ExpertBalance balance(test::tiny_model(), {});
  EXPECT_EQ(balance.routing(4), nullptr);
  balance.add(nullptr);
  balance.update_biases({}, 0);
  Metrics metrics;
  balance.report(metrics);
  EXPECT_TRUE(metrics.empty());
}

TextStageConfig config(const std::string& experts) {
  return TextStageConfig::parse(
      ConfigNode::parse_text(
          "steps: 60\ntexts_per_step: 8\nmicro_batch_tokens: 32\nschedule: {lr: 3.0e-3}\nexperts: " + experts,
          "stage.yaml"),
      true);
}

// Lopsided gates: without balancing the busiest expert keeps several times the mean, with it the load falls
// below 1.5.
TEST(ExpertBalance, TrainingEvensALopsidedGate) {
  std::map<std::string, double> last;
  for (const std::string experts :
       {"{bias_rate: 0, balance_loss: 0}", "{bias_rate: 0.02, balance_loss: 0}"}) {
    const test::RunFolder folder("balance");
    const auto model = tiny_mixture();
    {
      const torch::NoGradGuard no_grad;
      model->expert_layers()[0]->gate->e_score_correction_bias.copy_(
          torch::tensor({0.3F, 0.3F, 0.1F, 0.0F, 0.0F, 0.0F, -0.1F, -0.2F}));
    }
    TextStage stage(folder.context("pretrain", model), config(experts),
                    [](int64_t i) { return TextExample{cat(i % 2, "+", i / 2 % 2, "="), cat(i % 2 + i / 2 % 2)}; });
    double sum = 0;
    for (int64_t step = 0; step < 60; ++step) {
      const auto metrics = stage.advance();
      if (step >= 50) sum += value_of(metrics, "expert_load_max") / 10;
    }
    last[experts] = sum;
  }
  EXPECT_GT(last["{bias_rate: 0, balance_loss: 0}"], 2.0);
  EXPECT_LT(last["{bias_rate: 0.02, balance_loss: 0}"], 1.6);
}

}  // namespace
}  // namespace r1::train
