#include "r1/algo/grpo_loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "r1/algo/advantages.h"
#include "support/gradcheck.h"

namespace r1::algo {
namespace {

using test::gradcheck;
using torch::Tensor;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor f64(std::vector<double> values) { return torch::tensor(values, torch::kDouble); }
Tensor i64(std::vector<int64_t> values) { return torch::tensor(values, torch::kLong); }

GrpoLossConfig setting(Aggregation aggregation, RatioLevel level = RatioLevel::kToken, double clip = 0.2,
                       double kl_coef = 0.0) {
  GrpoLossConfig c;
  c.aggregation = aggregation;
  c.ratio_level = level;
  c.clip_low = c.clip_high = clip;
  c.kl_coef = kl_coef;
  return c;
}

/// Completions of the given lengths, all tokens trained, log-ratios around `spread`.
struct Example {
  Tensor logprobs_N;
  GrpoBatch batch;
  LossScale scale;
};

Example random_example(std::vector<int64_t> lengths, double spread = 0.3,
                       torch::ScalarType dtype = torch::kDouble) {
  std::vector<int64_t> sequence;
  for (size_t m = 0; m < lengths.size(); ++m)
    sequence.insert(sequence.end(), lengths[m], static_cast<int64_t>(m));
  const auto num_tokens = static_cast<int64_t>(sequence.size());
  const auto noise = [&](double scale) { return scale * torch::randn({num_tokens}, torch::kDouble); };
  Example e;
  const auto rollout = -torch::rand({num_tokens}, torch::kDouble) * 3 - 0.1;
  e.batch.rollout_logprobs_N = rollout.to(dtype);
  e.batch.reference_logprobs_N = (rollout + noise(spread)).to(dtype);
  e.logprobs_N = (rollout + noise(spread)).to(dtype).requires_grad_();
  e.batch.num_sequences = static_cast<int64_t>(lengths.size());
  e.batch.advantages_M = torch::randn({e.batch.num_sequences}, torch::kDouble).to(dtype);
  e.batch.sequence_N = i64(sequence);
  e.batch.mask_N = torch::ones({num_tokens}, torch::kBool);
  e.scale = {e.batch.num_sequences, num_tokens, 16};
  return e;
}

struct LossAndGrad {
  double loss;
  Tensor grad;
};

LossAndGrad evaluate(const Tensor& logprobs_N, const GrpoBatch& batch, const LossScale& scale,
                     const GrpoLossConfig& config) {
  const auto leaf = logprobs_N.detach().clone().requires_grad_();
  const auto result = grpo_loss(leaf, batch, scale, config);
  result.loss.backward();
  return {result.loss.item<double>(), leaf.grad()};
}

void expect_near(const Tensor& got, std::vector<double> expected, double tolerance = 1e-14) {
  ASSERT_EQ(got.numel(), static_cast<int64_t>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(got[i].item<double>(), expected[i], tolerance) << "at " << i;
}

std::vector<std::pair<std::string, GrpoLossConfig>> all_settings() {
  std::vector<std::pair<std::string, GrpoLossConfig>> result;
  for (const auto& [name, aggregation] :
       std::vector<std::pair<std::string, Aggregation>>{{"sequence", Aggregation::kSequence},
                                                        {"token_in_sequence", Aggregation::kTokenInSequence},
                                                        {"token", Aggregation::kToken},
                                                        {"constant", Aggregation::kConstant}}) {
    for (const auto& [level_name, level] :
         std::vector<std::pair<std::string, RatioLevel>>{{"token", RatioLevel::kToken},
                                                         {"mean", RatioLevel::kSequenceMean},
                                                         {"product", RatioLevel::kSequenceProduct}}) {
      if (aggregation == Aggregation::kSequence && level == RatioLevel::kToken) continue;
      for (const double kl_coef : {0.0, 0.1}) {
        result.emplace_back(name + "/" + level_name + "/beta=" + std::to_string(kl_coef),
                            setting(aggregation, level, 0.2, kl_coef));
      }
    }
  }
  return result;
}

// Two completions: tokens with ratios 1.1, 1.5 (A = 1) and 0.5, 0.9, 1.0 (A = -2); clip 0.2.
Example worked_example() {
  Example e;
  e.batch.rollout_logprobs_N = f64({-1, -2, -1, -2, -3});
  e.logprobs_N = e.batch.rollout_logprobs_N + f64({1.1, 1.5, 0.5, 0.9, 1.0}).log();
  e.batch.advantages_M = f64({1, -2});
  e.batch.sequence_N = i64({0, 0, 1, 1, 1});
  e.batch.mask_N = torch::ones({5}, torch::kBool);
  e.batch.num_sequences = 2;
  e.scale = {2, 5, 10};
  return e;
}

// min(r A, clip(r) A): 1.1, 1.2 | -1.6, -1.8, -2.0; gradients of the terms: 1.1, 0 | 0, -1.8, -2.0
TEST(GrpoLoss, HandComputedTokenRatios) {
  const auto e = worked_example();
  const auto in_sequence = evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kTokenInSequence));
  EXPECT_NEAR(in_sequence.loss, -(2.3 / 2 - 5.4 / 3) / 2, 1e-14);
  expect_near(in_sequence.grad, {-1.1 / 4, 0, 0, 1.8 / 6, 2.0 / 6});
  const auto token = evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken));
  EXPECT_NEAR(token.loss, -(2.3 - 5.4) / 5, 1e-14);
  expect_near(token.grad, {-1.1 / 5, 0, 0, 1.8 / 5, 2.0 / 5});
  const auto constant = evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kConstant));
  EXPECT_NEAR(constant.loss, -(2.3 - 5.4) / 20, 1e-14);
  expect_near(constant.grad, {-1.1 / 20, 0, 0, 1.8 / 20, 2.0 / 20});
}

// Products 1.65 (clipped to 1.2) and 0.45 (clipped to 0.8); with clip 10 neither is.
TEST(GrpoLoss, HandComputedSequenceProduct) {
  const auto e = worked_example();
  const auto level = RatioLevel::kSequenceProduct;
  const auto clipped = evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kSequence, level));
  EXPECT_NEAR(clipped.loss, -(1.2 - 1.6) / 2, 1e-14);
  expect_near(clipped.grad, {0, 0, 0, 0, 0}, 0);
  const auto open = evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kSequence, level, 10));
  EXPECT_NEAR(open.loss, -(1.65 - 0.9) / 2, 1e-14);
  expect_near(open.grad, {-1.65 / 2, -1.65 / 2, 0.9 / 2, 0.9 / 2, 0.9 / 2});
}

// GSPO: s = sqrt(1.65) = 1.2845 (clipped to 1.2), cbrt(0.45) = 0.7663 (clipped to 0.8)
TEST(GrpoLoss, HandComputedGspo) {
  const auto e = worked_example();
  const double s0 = std::sqrt(1.65), s1 = std::cbrt(0.45);
  auto config = setting(Aggregation::kSequence, RatioLevel::kSequenceMean, 0.5);
  const auto open = evaluate(e.logprobs_N, e.batch, e.scale, config);
  EXPECT_NEAR(open.loss, -(s0 - 2 * s1) / 2, 1e-14);
  expect_near(open.grad, {-s0 / 4, -s0 / 4, s1 / 3, s1 / 3, s1 / 3});
  config.clip_low = config.clip_high = 0.2;
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss, -(1.2 - 1.6) / 2, 1e-14);
  // Its tokens share one ratio, so 1/|o_i| sum_t of them is the same objective.
  config.aggregation = Aggregation::kTokenInSequence;
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss, -(1.2 - 1.6) / 2, 1e-14);
}

TEST(GrpoLoss, HandComputedKl) {
  auto e = worked_example();
  e.batch.advantages_M = f64({0, 0});
  e.batch.reference_logprobs_N = e.logprobs_N + f64({2, 1, 4, 1, 0.5}).log();  // pi_ref / pi
  const auto k3 = [](double x) { return x - std::log(x) - 1; };
  const double first = k3(2) + k3(1), second = k3(4) + k3(1) + k3(0.5);
  const auto kl = [](Aggregation a) { return setting(a, RatioLevel::kToken, 0.2, 0.1); };
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, kl(Aggregation::kTokenInSequence)).loss,
              0.1 * (first / 2 + second / 3) / 2, 1e-14);
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, kl(Aggregation::kToken)).loss,
              0.1 * (first + second) / 5, 1e-14);
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, kl(Aggregation::kConstant)).loss,
              0.1 * (first + second) / 20, 1e-14);
  // R1's eq. (2), literally: of the whole completion, 2 * 1 and 4 * 1 * 0.5.
  const auto whole = setting(Aggregation::kSequence, RatioLevel::kSequenceProduct, 0.2, 0.1);
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, whole).loss, 0.1 * (k3(2) + k3(2)) / 2, 1e-14);
}

TEST(GrpoLoss, StatisticsOfTheWorkedExample) {
  auto e = worked_example();
  e.batch.reference_logprobs_N = e.logprobs_N.clone();
  const auto s = grpo_loss(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken)).stats;
  EXPECT_EQ(s.tokens.item<double>(), 5);
  EXPECT_EQ(s.sequences.item<double>(), 2);
  EXPECT_EQ(s.clip_high_count.item<double>(), 1);
  EXPECT_EQ(s.clip_low_count.item<double>(), 1);
  EXPECT_EQ(s.dual_clip_count.item<double>(), 0);
  EXPECT_NEAR(s.ratio_sum.item<double>(), 5.0, 1e-14);
  EXPECT_NEAR(s.ratio_max.item<double>(), 1.5, 1e-14);
  EXPECT_NEAR(s.logprob_error_max.item<double>(), std::log(2.0), 1e-14);
  EXPECT_NEAR(s.policy_loss.item<double>(), 3.1 / 5, 1e-14);
  EXPECT_EQ(s.kl_sum.item<double>(), 0);
  EXPECT_NEAR(s.entropy_sum.item<double>(), 9 - std::log(1.1 * 1.5 * 0.5 * 0.9), 1e-14);
  // With a sequence ratio all tokens of a clipped completion count.
  const auto gspo =
      grpo_loss(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kSequence, RatioLevel::kSequenceMean))
          .stats;
  EXPECT_EQ(gspo.clip_high_count.item<double>(), 2);
  EXPECT_EQ(gspo.clip_low_count.item<double>(), 3);
  EXPECT_NEAR(gspo.ratio_sum.item<double>(), 2 * std::sqrt(1.65) + 3 * std::cbrt(0.45), 1e-14);
  // An advantage of zero is neither side: nothing would move, so nothing is clipped.
  auto zero = e.batch;
  zero.advantages_M = f64({0, 0});
  const auto none = grpo_loss(e.logprobs_N, zero, e.scale, setting(Aggregation::kToken)).stats;
  EXPECT_EQ(none.clip_high_count.item<double>() + none.clip_low_count.item<double>(), 0);
  EXPECT_FALSE(s.kl_sum.requires_grad() || s.policy_loss.requires_grad() || s.ratio_max.requires_grad());
}

TEST(GrpoLoss, GradientEqualsCentralDifferencesInEverySetting) {
  torch::manual_seed(11);
  const auto e = random_example({4, 1, 0, 3});
  for (const auto& [name, config] : all_settings()) {
    EXPECT_TRUE(gradcheck([&](const auto& x) { return grpo_loss(x[0], e.batch, e.scale, config).loss; },
                          {e.logprobs_N.detach().clone().requires_grad_()}))
        << name;
  }
}

TEST(GrpoLoss, MicroBatchesSumToTheLargeBatch) {
  torch::manual_seed(12);
  const std::vector<int64_t> lengths = {5, 1, 0, 7, 2, 2};
  for (const auto dtype : {torch::kDouble, torch::kFloat}) {
    const double tolerance = dtype == torch::kDouble ? 1e-14 : 1e-6;
    const auto e = random_example(lengths, 0.3, dtype);
    for (const auto& [name, config] : all_settings()) {
      const auto whole = evaluate(e.logprobs_N, e.batch, e.scale, config);
      GrpoStats summed;
      double loss = 0;
      std::vector<Tensor> grads;
      for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 4}, {4, 6}}) {
        const auto here = (e.batch.sequence_N >= begin) & (e.batch.sequence_N < end);
        GrpoBatch part;
        part.rollout_logprobs_N = e.batch.rollout_logprobs_N.masked_select(here);
        part.reference_logprobs_N = e.batch.reference_logprobs_N.masked_select(here);
        part.sequence_N = e.batch.sequence_N.masked_select(here) - begin;
        part.mask_N = e.batch.mask_N.masked_select(here);
        part.advantages_M = e.batch.advantages_M.slice(0, begin, end);
        part.num_sequences = end - begin;
        const auto leaf = e.logprobs_N.detach().masked_select(here).requires_grad_();
        const auto result = grpo_loss(leaf, part, e.scale, config);
        result.loss.backward();
        loss += result.loss.item<double>();
        grads.push_back(leaf.grad());
        summed.add(result.stats);
      }
      EXPECT_NEAR(loss, whole.loss, tolerance) << name;
      EXPECT_TRUE(torch::allclose(torch::cat(grads), whole.grad, 0, tolerance)) << name;
      const auto stats = grpo_loss(e.logprobs_N, e.batch, e.scale, config).stats;
      EXPECT_EQ(summed.tokens.item<double>(), stats.tokens.item<double>());
      EXPECT_EQ(summed.sequences.item<double>(), 5);
      EXPECT_EQ(summed.clip_high_count.item<double>(), stats.clip_high_count.item<double>());
      EXPECT_EQ(summed.clip_low_count.item<double>(), stats.clip_low_count.item<double>());
      EXPECT_EQ(summed.ratio_max.item<double>(), stats.ratio_max.item<double>());
      EXPECT_EQ(summed.logprob_error_max.item<double>(), stats.logprob_error_max.item<double>());
      EXPECT_NEAR(summed.kl_sum.item<double>(), stats.kl_sum.item<double>(), 10 * tolerance);
      EXPECT_NEAR(summed.policy_loss.item<double>(), stats.policy_loss.item<double>(), 10 * tolerance);
    }
  }
}

TEST(GrpoLoss, PackingOrderOnlyPermutesTheGradient) {
  torch::manual_seed(13);
  const auto e = random_example({5, 1, 3});
  const auto order = torch::randperm(9, torch::kLong);
  auto shuffled = e.batch;
  shuffled.rollout_logprobs_N = e.batch.rollout_logprobs_N.index_select(0, order);
  shuffled.reference_logprobs_N = e.batch.reference_logprobs_N.index_select(0, order);
  shuffled.sequence_N = e.batch.sequence_N.index_select(0, order);
  for (const auto& [name, config] : all_settings()) {
    const auto a = evaluate(e.logprobs_N, e.batch, e.scale, config);
    const auto b = evaluate(e.logprobs_N.index_select(0, order), shuffled, e.scale, config);
    EXPECT_NEAR(a.loss, b.loss, 1e-14) << name;
    EXPECT_TRUE(torch::allclose(a.grad.index_select(0, order), b.grad, 0, 1e-14)) << name;
  }
}

TEST(GrpoLoss, MaskedTokensChangeNothingWhateverTheyHold) {
  torch::manual_seed(14);
  const auto e = random_example({4, 2});
  const auto keep = i64({0, 2, 3, 5, 6, 8});  // places of the trained tokens among 9
  for (const double junk : {0.0, kNan, std::numeric_limits<double>::infinity(), -1e300}) {
    const auto spread = [&](const Tensor& x) {
      return torch::full({9}, junk, torch::kDouble).index_copy(0, keep, x.detach());
    };
    GrpoBatch padded;
    padded.rollout_logprobs_N = spread(e.batch.rollout_logprobs_N);
    padded.reference_logprobs_N = spread(e.batch.reference_logprobs_N);
    padded.advantages_M = e.batch.advantages_M;
    padded.num_sequences = 2;
    padded.sequence_N = torch::ones({9}, torch::kLong).index_copy(0, keep, e.batch.sequence_N);
    padded.mask_N = torch::zeros({9}, torch::kDouble).index_fill(0, keep, 1.0);
    for (auto [name, config] : all_settings()) {
      config.tis_cap = 1.2;
      auto plain = e.batch;
      plain.old_logprobs_N = e.batch.rollout_logprobs_N + 0.1;
      padded.old_logprobs_N = spread(plain.old_logprobs_N);
      const auto a = evaluate(e.logprobs_N, plain, e.scale, config);
      const auto b = evaluate(spread(e.logprobs_N), padded, e.scale, config);
      EXPECT_NEAR(a.loss, b.loss, 1e-14) << name << ", junk " << junk;
      EXPECT_TRUE(torch::allclose(a.grad, b.grad.index_select(0, keep), 0, 1e-15))
          << name << ", junk " << junk;
      EXPECT_TRUE(b.grad.index_fill(0, keep, 0.0).eq(0).all().item<bool>()) << name << ", junk " << junk;
      const auto stats = grpo_loss(spread(e.logprobs_N), padded, e.scale, config).stats;
      EXPECT_EQ(stats.tokens.item<double>(), 6);
      EXPECT_TRUE(std::isfinite(stats.ratio_max.item<double>()) &&
                  std::isfinite(stats.entropy_sum.item<double>()) &&
                  std::isfinite(stats.kl_sum.item<double>()) &&
                  std::isfinite(stats.logprob_error_max.item<double>()));
    }
  }
}

TEST(GrpoLoss, EqualRewardsGiveExactlyZeroGradient) {
  torch::manual_seed(15);
  for (const auto dtype : {torch::kDouble, torch::kFloat}) {
    auto e = random_example({4, 2, 3, 1}, 0.5, dtype);
    e.batch.advantages_M = group_advantages(torch::full({1, 4}, 0.1, dtype)).view({-1});
    for (const auto& [name, config] : all_settings()) {
      if (config.kl_coef > 0) continue;
      const auto got = evaluate(e.logprobs_N, e.batch, e.scale, config);
      EXPECT_EQ(got.loss, 0.0) << name;
      EXPECT_TRUE(got.grad.eq(0).all().item<bool>()) << name;
    }
  }
}

TEST(GrpoLoss, OnPolicyTheGradientIsThatOfThePolicyGradient) {
  torch::manual_seed(16);
  auto e = random_example({3, 5});
  e.logprobs_N = e.batch.rollout_logprobs_N.clone();
  e.batch.reference_logprobs_N = e.batch.rollout_logprobs_N.clone();
  const auto advantages_N = e.batch.advantages_M.index_select(0, e.batch.sequence_N);
  const auto got =
      evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken, RatioLevel::kToken, 0.2, 0.5));
  EXPECT_TRUE(torch::allclose(got.grad, -advantages_N / 8, 0, 1e-16));  // no clip at 1, k3 has no slope at 0
}

TEST(GrpoLoss, AggregationsAgreeWhenAllLengthsAreEqual) {
  torch::manual_seed(17);
  auto e = random_example({4, 4, 4});
  e.scale.constant_length = 4;
  for (const auto level : {RatioLevel::kToken, RatioLevel::kSequenceMean, RatioLevel::kSequenceProduct}) {
    const auto expected =
        evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken, level, 0.2, 0.1));
    for (const auto aggregation : {Aggregation::kTokenInSequence, Aggregation::kConstant}) {
      const auto got = evaluate(e.logprobs_N, e.batch, e.scale, setting(aggregation, level, 0.2, 0.1));
      EXPECT_NEAR(got.loss, expected.loss, 1e-14);
      EXPECT_TRUE(torch::allclose(got.grad, expected.grad, 0, 1e-14));
    }
  }
}

TEST(GrpoLoss, AllSettingsAgreeOnCompletionsOfOneToken) {
  torch::manual_seed(18);
  auto e = random_example({1, 1, 1, 1});
  e.scale.constant_length = 1;
  const auto expected =
      evaluate(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken, RatioLevel::kToken, 0.2, 0.1));
  for (const auto& [name, config] : all_settings()) {
    if (config.kl_coef == 0) continue;
    EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss, expected.loss, 1e-14) << name;
  }
}

TEST(GrpoLoss, ClippingStartsBeyondTheBounds) {
  Example e;
  const auto gradient = [&](double ratio, double advantage, double low, double high) {
    e.batch.rollout_logprobs_N = f64({0});
    e.batch.advantages_M = f64({advantage});
    e.batch.sequence_N = i64({0});
    e.batch.mask_N = torch::ones({1}, torch::kBool);
    e.batch.num_sequences = 1;
    auto config = setting(Aggregation::kToken);
    config.clip_low = low;
    config.clip_high = high;
    return evaluate(f64({std::log(ratio)}), e.batch, {1, 1, 1}, config).grad.item<double>();
  };
  EXPECT_EQ(gradient(1.0, 1, 0.2, 0.28), -1.0);
  EXPECT_NEAR(gradient(1.27, 1, 0.2, 0.28), -1.27, 1e-14);  // DAPO's clip-higher leaves room upwards
  EXPECT_EQ(gradient(1.29, 1, 0.2, 0.28), 0.0);
  EXPECT_NEAR(gradient(1.29, -1, 0.2, 0.28), 1.29, 1e-14);  // a bad token that became likelier is not clipped
  EXPECT_EQ(gradient(0.79, -1, 0.2, 0.28), 0.0);
  EXPECT_NEAR(gradient(0.79, 1, 0.2, 0.28), -0.79, 1e-14);
  EXPECT_NEAR(gradient(1e-9, -1, 10, 10), 1e-9, 1e-20);  // R1's eps = 10: nothing below is ever clipped,
  EXPECT_NEAR(gradient(10.9, 1, 10, 10), -10.9, 1e-13);  // above only from 11 on
  EXPECT_EQ(gradient(11.1, 1, 10, 10), 0.0);
  EXPECT_EQ(gradient(2.0, 1, 0.5, 1.0), -2.0);  // exactly on the bound: not clipped
  EXPECT_EQ(gradient(0.5, -1, 0.5, 1.0), 0.5);
}

TEST(GrpoLoss, DualClipBoundsTheLossOfNegativeAdvantages) {
  Example e = worked_example();
  e.logprobs_N = e.batch.rollout_logprobs_N + f64({5, 1, 5, 2, 1}).log();
  auto config = setting(Aggregation::kToken);
  config.dual_clip = 3;
  const auto got = evaluate(e.logprobs_N, e.batch, e.scale, config);
  EXPECT_NEAR(got.loss, -(1.2 + 1 - 6 - 4 - 2) / 5, 1e-14);
  expect_near(got.grad, {0, -0.2, 0, 0.8, 0.4});
  const auto stats = grpo_loss(e.logprobs_N, e.batch, e.scale, config).stats;
  EXPECT_EQ(stats.dual_clip_count.item<double>(), 1);
  EXPECT_EQ(stats.clip_high_count.item<double>(), 1);
}

TEST(GrpoLoss, TruncatedImportanceWeightsScaleThePolicyTermOnly) {
  auto e = worked_example();
  e.logprobs_N = e.batch.rollout_logprobs_N + f64({2, 0.5, 1, 4, 1}).log();
  e.batch.old_logprobs_N = e.logprobs_N.clone();  // ratios 1
  e.batch.reference_logprobs_N = e.logprobs_N + std::log(2.0);
  auto config = setting(Aggregation::kToken);
  config.tis_cap = 3;
  const auto got = evaluate(e.logprobs_N, e.batch, e.scale, config);
  EXPECT_NEAR(got.loss, -(2 + 0.5 - 2 * (1 + 3 + 1)) / 5, 1e-14);
  expect_near(got.grad, {-0.4, -0.1, 0.4, 1.2, 0.4});
  EXPECT_EQ(grpo_loss(e.logprobs_N, e.batch, e.scale, config).stats.tis_capped_count.item<double>(), 1);
  config.kl_coef = 1;
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss - got.loss, 1 - std::log(2.0), 1e-14);
  // Completion weights: 2 * 0.5 and cbrt(4).
  config = setting(Aggregation::kSequence, RatioLevel::kSequenceMean);
  config.tis_cap = 3;
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss, -(1 - 2 * std::cbrt(4.0)) / 2, 1e-14);
}

TEST(GrpoLoss, AdvantagesPerTokenEqualThosePerCompletion) {
  torch::manual_seed(19);
  const auto e = random_example({3, 2});
  auto per_token = e.batch;
  per_token.advantages_N = e.batch.advantages_M.index_select(0, e.batch.sequence_N);
  per_token.advantages_M = Tensor();
  const auto config = setting(Aggregation::kTokenInSequence, RatioLevel::kToken, 0.2, 0.1);
  const auto a = evaluate(e.logprobs_N, e.batch, e.scale, config),
             b = evaluate(e.logprobs_N, per_token, e.scale, config);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_TRUE(torch::equal(a.grad, b.grad));
}

TEST(GrpoLoss, EmptyCompletionsAndEmptyMicroBatchesAddZero) {
  const auto e = random_example({0, 0});
  const auto none = random_example({});
  for (const auto& [name, config] : all_settings()) {
    for (const auto& example : {e, none}) {
      const auto leaf = example.logprobs_N.detach().clone().requires_grad_();
      const auto result = grpo_loss(leaf, example.batch, example.scale, config);  // 0 tokens in the step
      result.loss.backward();
      EXPECT_EQ(result.loss.item<double>(), 0.0) << name;
      EXPECT_EQ(result.stats.ratio_max.item<double>(), 0.0) << name;
      EXPECT_EQ(result.stats.tokens.item<double>(), 0.0) << name;
    }
  }
}

TEST(GrpoLoss, AnEmptyCompletionCountsInTheDenominatorOfSequencesOnly) {
  auto e = worked_example();
  const auto config = setting(Aggregation::kTokenInSequence);
  const auto before = evaluate(e.logprobs_N, e.batch, e.scale, config);
  e.batch.num_sequences = e.scale.num_sequences_step = 3;
  e.batch.advantages_M = f64({1, -2, 5});
  EXPECT_NEAR(evaluate(e.logprobs_N, e.batch, e.scale, config).loss, before.loss * 2 / 3, 1e-14);
  const auto token = setting(Aggregation::kToken);
  EXPECT_EQ(
      evaluate(e.logprobs_N, e.batch, e.scale, token).loss,
      evaluate(worked_example().logprobs_N, worked_example().batch, worked_example().scale, token).loss);
}

// A log-ratio beyond the dtype: what the equation clips stays clipped, with zero gradient instead of 0 * inf.
TEST(GrpoLoss, HugeRatiosGiveNoNaN) {
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {
    auto e = random_example({2, 1, 2}, 0.1, dtype);
    e.batch.advantages_M = torch::tensor({1.0, 0.0, -1.0}, dtype);
    const auto logprobs =
        e.batch.rollout_logprobs_N + torch::tensor({2000.0, 0.0, 2000.0, -2000.0, 0.0}, dtype);
    for (const auto& [name, config] : all_settings()) {
      const auto got = evaluate(logprobs, e.batch, e.scale, config);
      EXPECT_TRUE(std::isfinite(got.loss)) << name;
      EXPECT_TRUE(got.grad.isfinite().all().item<bool>()) << name;
      if (config.kl_coef == 0) {
        EXPECT_EQ(got.grad[0].item<double>(), 0.0) << name;
        EXPECT_EQ(got.grad[2].item<double>(), 0.0) << name;
      }
    }
  }
}

TEST(GrpoLoss, OtherTensorsAreConstants) {
  torch::manual_seed(20);
  const auto e = random_example({3, 2});
  e.batch.rollout_logprobs_N.requires_grad_();
  e.batch.reference_logprobs_N.requires_grad_();
  e.batch.advantages_M.requires_grad_();
  grpo_loss(e.logprobs_N, e.batch, e.scale, setting(Aggregation::kToken, RatioLevel::kToken, 0.2, 0.1))
      .loss.backward();
  EXPECT_TRUE(e.logprobs_N.grad().defined());
  EXPECT_FALSE(e.batch.rollout_logprobs_N.grad().defined());
  EXPECT_FALSE(e.batch.reference_logprobs_N.grad().defined());
  EXPECT_FALSE(e.batch.advantages_M.grad().defined());
}

TEST(GrpoLoss, RefusesWrongTensors) {
  const auto config = setting(Aggregation::kTokenInSequence, RatioLevel::kToken, 0.2, 0.1);
  const auto good = random_example({3, 2});
  const auto run = [&](const std::function<void(Example&, GrpoLossConfig&)>& spoil) {
    auto e = good;
    auto c = config;
    spoil(e, c);
    grpo_loss(e.logprobs_N, e.batch, e.scale, c);
  };
  EXPECT_NO_THROW(run([](auto&, auto&) {}));
  const std::vector<std::pair<const char*, std::function<void(Example&, GrpoLossConfig&)>>> spoilers = {
      {"bfloat16", [](auto& e, auto&) { e.logprobs_N = e.logprobs_N.to(torch::kBFloat16); }},
      {"two dimensions", [](auto& e, auto&) { e.logprobs_N = e.logprobs_N.view({1, 5}); }},
      {"dtype of rollout", [](auto& e, auto&) { e.batch.rollout_logprobs_N = torch::zeros({5}); }},
      {"length of rollout", [](auto& e, auto&) { e.batch.rollout_logprobs_N = f64({0, 0}); }},
      {"no rollout", [](auto& e, auto&) { e.batch.rollout_logprobs_N = Tensor(); }},
      {"no reference", [](auto& e, auto&) { e.batch.reference_logprobs_N = Tensor(); }},
      {"no old", [](auto&, auto& c) { c.tis_cap = 2; }},
      {"length of old", [](auto& e, auto&) { e.batch.old_logprobs_N = f64({0}); }},
      {"sequence dtype", [](auto& e, auto&) { e.batch.sequence_N = e.batch.sequence_N.to(torch::kInt); }},
      {"sequence index", [](auto& e, auto&) { e.batch.sequence_N = e.batch.sequence_N + 1; }},
      {"no mask", [](auto& e, auto&) { e.batch.mask_N = Tensor(); }},
      {"no advantages", [](auto& e, auto&) { e.batch.advantages_M = Tensor(); }},
      {"both advantages", [](auto& e, auto&) { e.batch.advantages_N = e.logprobs_N.detach(); }},
      {"length of advantages", [](auto& e, auto&) { e.batch.advantages_M = f64({1}); }},
      {"sequence ratio with token advantages",
       [](auto& e, auto& c) {
         c.ratio_level = RatioLevel::kSequenceMean;
         e.batch.advantages_M = Tensor();
         e.batch.advantages_N = e.logprobs_N.detach();
       }},
      {"sequence aggregation of token ratios",
       [](auto&, auto& c) { c.aggregation = Aggregation::kSequence; }},
      {"fewer sequences in the step", [](auto& e, auto&) { e.scale.num_sequences_step = 1; }},
      {"no constant",
       [](auto& e, auto& c) {
         c.aggregation = Aggregation::kConstant;
         e.scale.constant_length = 0;
       }},
  };
  for (const auto& [name, spoil] : spoilers) EXPECT_THROW(run(spoil), c10::Error) << name;
}

}  // namespace
}  // namespace r1::algo
