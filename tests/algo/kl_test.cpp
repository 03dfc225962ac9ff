#include "r1/algo/kl.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "support/gradcheck.h"

namespace r1::algo {
namespace {

using test::gradcheck;

TEST(Kl, HandComputedNumbers) {
  const auto policy = torch::tensor({-1.0, -2.0, -0.5}, torch::kDouble);
  const auto reference = torch::tensor({-1.5, -1.0, -0.5}, torch::kDouble);  // d = -0.5, 1, 0
  const auto k1 = kl_estimate(policy, reference, KlEstimator::kK1);
  const auto k2 = kl_estimate(policy, reference, KlEstimator::kK2);
  const auto k3 = kl_estimate(policy, reference, KlEstimator::kK3);
  const double k1_expected[] = {0.5, -1.0, 0.0}, k2_expected[] = {0.125, 0.5, 0.0};
  const double k3_expected[] = {0.10653065971263342, 0.71828182845904524, 0.0};  // e^-0.5 + 0.5 - 1, e - 2
  for (int i = 0; i < 3; ++i) {
    EXPECT_DOUBLE_EQ(k1[i].item<double>(), k1_expected[i]);
    EXPECT_DOUBLE_EQ(k2[i].item<double>(), k2_expected[i]);
    EXPECT_NEAR(k3[i].item<double>(), k3_expected[i], 1e-15);
  }
}

TEST(Kl, GradientIsThatOfTheEquation) {
  const auto reference = torch::tensor({-1.5, -1.0, -0.5, -3.0}, torch::kDouble);
  for (const auto estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    const auto policy = torch::tensor({-1.0, -2.0, -0.6, -0.1}, torch::kDouble).requires_grad_();
    EXPECT_TRUE(gradcheck([&](const auto& x) { return kl_estimate(x[0], reference, estimator); }, {policy}))
        << name_of(estimator);
  }
}

// The mean of k1 and k3 over the whole vocabulary, weighted by the policy, is the divergence itself.
TEST(Kl, K1AndK3AreUnbiased) {
  torch::manual_seed(1);
  const auto policy = torch::log_softmax(torch::randn({50}, torch::kDouble), 0);
  const auto reference = torch::log_softmax(torch::randn({50}, torch::kDouble), 0);
  const auto exact = (policy.exp() * (policy - reference)).sum().item<double>();
  for (const auto estimator : {KlEstimator::kK1, KlEstimator::kK3}) {
    const auto mean = (policy.exp() * kl_estimate(policy, reference, estimator)).sum().item<double>();
    EXPECT_NEAR(mean, exact, 1e-13) << name_of(estimator);
  }
  const auto k2 = (policy.exp() * kl_estimate(policy, reference, KlEstimator::kK2)).sum().item<double>();
  EXPECT_GT(std::abs(k2 - exact), 1e-3);
}

TEST(Kl, K3InFloat32KeepsItsDigitsNearTheReference) {
  const auto d = torch::tensor({1e-4, -3e-4, 2e-3}, torch::kDouble);
  const auto exact = kl_estimate(-d, torch::zeros(3, torch::kDouble), KlEstimator::kK3);
  const auto single = kl_estimate(-d.to(torch::kFloat), torch::zeros(3), KlEstimator::kK3).to(torch::kDouble);
  const auto naive = (d.to(torch::kFloat).exp() - d.to(torch::kFloat) - 1).to(torch::kDouble);
  const double error = ((single - exact) / exact).abs().max().item<double>();
  EXPECT_LT(error, 2e-3);
  EXPECT_GT(((naive - exact) / exact).abs().max().item<double>(), 10 * error);
}

TEST(Kl, IsNeverNegativeAndNeverOverflows) {
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {
    const auto policy = torch::tensor({0.0, -1.0, -1000.0}, dtype).requires_grad_();
    const auto reference = torch::tensor({-1000.0, -1.0, 0.0}, dtype);
    const auto k3 = kl_estimate(policy, reference, KlEstimator::kK3);
    k3.sum().backward();
    EXPECT_TRUE((k3 >= 0).all().item<bool>());
    EXPECT_TRUE(k3.isfinite().all().item<bool>());
    EXPECT_TRUE(policy.grad().isfinite().all().item<bool>());
  }
}

TEST(Kl, ReferenceIsAConstant) {
  const auto policy = torch::tensor({-1.0}, torch::kDouble).requires_grad_();
  const auto reference = torch::tensor({-2.0}, torch::kDouble).requires_grad_();
  kl_estimate(policy, reference, KlEstimator::kK3).sum().backward();
  EXPECT_FALSE(reference.grad().defined());
}

TEST(Kl, RefusesOtherShapesDtypesAndNames) {
  EXPECT_THROW(kl_estimate(torch::zeros(3), torch::zeros(4), KlEstimator::kK3), c10::Error);
  EXPECT_THROW(kl_estimate(torch::zeros(3), torch::zeros(3, torch::kDouble), KlEstimator::kK3), c10::Error);
  EXPECT_THROW(kl_estimator_from("k4"), c10::Error);
  for (const auto* name : {"k1", "k2", "k3"}) EXPECT_EQ(name_of(kl_estimator_from(name)), name);
}

}  // namespace
}  // namespace r1::algo
