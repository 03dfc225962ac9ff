#include "r1/train/optimizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/parallel.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

using nlohmann::json;
using torch::Tensor;

Tensor parameter(const Tensor& values) { return values.clone().requires_grad_(); }

/// One parameter per shape, values and gradients from `seed`.
NamedTensors random_parameters(const std::vector<std::vector<int64_t>>& shapes, uint64_t seed) {
  torch::manual_seed(seed);
  NamedTensors result;
  for (size_t i = 0; i < shapes.size(); ++i) {
    auto p = parameter(torch::randn(shapes[i]));
    p.mutable_grad() = torch::randn(shapes[i]);
    result.emplace_back(cat("p", i), p);
  }
  return result;
}

const std::vector<std::vector<int64_t>> kManyShapes = {
    {1}, {300, 400}, {0}, {AdamW::kChunk - 1}, {AdamW::kChunk}, {AdamW::kChunk + 1}, {2, AdamW::kChunk + 7},
    {},  {17}};

TEST(AdamW, FiveStepsEqualTorchOptim) {
  std::ifstream in(std::string(R1_SOURCE_DIR) + "/tests/golden/train/adamw.json");
  const auto golden = json::parse(in);
  const auto& setting = golden["setting"];
  AdamWConfig config;
  config.beta1 = setting["beta1"];
  config.beta2 = setting["beta2"];
  config.eps = setting["eps"];
  config.weight_decay = setting["weight_decay"];
  config.max_grad_norm = setting["max_grad_norm"];
  NamedTensors parameters;
  const auto tensor = [&](const json& values, const std::string& name) {
    return torch::tensor(values.get<std::vector<float>>())
        .view(golden["shapes"][name].get<std::vector<int64_t>>());
  };
  for (const auto& [name, values] : golden["start"].items())
    parameters.emplace_back(name, parameter(tensor(values, name)));
  AdamW optimizer(parameters, config);
  double worst = 0;
  for (const auto& step : golden["steps"]) {
    for (auto& [name, p] : parameters) p.mutable_grad() = tensor(step["gradients"][name], name);
    const auto result = optimizer.step(step["lr"]);
    EXPECT_TRUE(result.applied);
    EXPECT_NEAR(result.grad_norm, step["grad_norm"].get<double>(), 1e-6);
    for (const auto& [name, p] : parameters) {
      const auto expected = tensor(step["parameters"][name], name);
      worst = std::max(worst,
                       ((p.detach() - expected).abs() / expected.abs().clamp_min(1e-2)).max().item<double>());
    }
  }
  EXPECT_LE(worst, 1e-6);
  EXPECT_EQ(optimizer.num_steps(), 5);
}

// The equation in float64 with tensor operations, for sizes around the chunk and the vector width.
TEST(AdamW, EqualsTheEquationInFloat64) {
  auto parameters = random_parameters(kManyShapes, 5);
  AdamWConfig config;
  config.weight_decay = 0.1;
  config.max_grad_norm = 0;
  std::vector<Tensor> p64, m64, v64;
  for (const auto& [name, p] : parameters) {
    p64.push_back(p.detach().to(torch::kDouble));
    m64.push_back(torch::zeros_like(p64.back()));
    v64.push_back(torch::zeros_like(p64.back()));
  }
  AdamW optimizer(parameters, config);
  const double lr = 0.01;
  for (int t = 1; t <= 3; ++t) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].second.mutable_grad() = torch::randn_like(parameters[i].second.detach());
      const auto g = parameters[i].second.grad().to(torch::kDouble);
      m64[i] = 0.9 * m64[i] + 0.1 * g;
      v64[i] = 0.999 * v64[i] + 0.001 * g * g;
      const double lambda = p64[i].dim() >= 2 ? 0.1 : 0.0;
      p64[i] = (1 - lr * lambda) * p64[i] - lr / (1 - std::pow(0.9, t)) * m64[i] /
                                                (v64[i].sqrt() / std::sqrt(1 - std::pow(0.999, t)) + 1e-8);
    }
    optimizer.step(lr);
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (p64[i].numel() == 0) continue;
      EXPECT_LE((parameters[i].second.detach() - p64[i]).abs().max().item<double>(), 1.5e-6) << "shape " << i;
    }
  }
}

TEST(AdamW, ThreadsChangeNoBit) {
  std::vector<Tensor> results[3];
  double norms[3];
  const int threads[3] = {1, 2, 5};
  for (int run = 0; run < 3; ++run) {
    kernels::set_num_threads(threads[run]);
    auto parameters = random_parameters(kManyShapes, 6);
    AdamW optimizer(parameters, {});
    norms[run] = optimizer.grad_norm();
    for (int t = 0; t < 3; ++t) optimizer.step(0.01);
    for (const auto& [name, p] : parameters) results[run].push_back(p.detach());
  }
  kernels::set_num_threads(0);
  for (int run = 1; run < 3; ++run) {
    EXPECT_EQ(norms[run], norms[0]);
    for (size_t i = 0; i < results[0].size(); ++i)
      EXPECT_TRUE(torch::equal(results[run][i], results[0][i])) << i;
  }
}

TEST(AdamW, GradNormIsThatOfAllGradients) {
  auto parameters = random_parameters(kManyShapes, 7);
  double sum = 0;
  for (const auto& [name, p] : parameters) sum += p.grad().to(torch::kDouble).square().sum().item<double>();
  AdamW optimizer(parameters, {});
  EXPECT_NEAR(optimizer.grad_norm(), std::sqrt(sum), 1e-10);
}

TEST(AdamW, ClipsOnlyAboveTheLimit) {
  const auto p = parameter(torch::zeros({2, 2}));
  p.mutable_grad() = torch::tensor({{3.0f, 0.0f}, {0.0f, 4.0f}});
  AdamWConfig config;
  config.max_grad_norm = 1.0;
  EXPECT_NEAR(AdamW({{"p", p}}, config).step(0.1).gradient_scale, 1.0 / (5.0 + 1e-6), 1e-15);
  config.max_grad_norm = 5.1;
  EXPECT_EQ(AdamW({{"p", p}}, config).step(0.1).gradient_scale, 1.0);
  config.max_grad_norm = 0;
  EXPECT_EQ(AdamW({{"p", p}}, config).step(0.1).gradient_scale, 1.0);
  // What is clipped is what enters the moments.
  config.max_grad_norm = 2.5;
  AdamW optimizer({{"p", p}}, config);
  optimizer.step(0.1);
  EXPECT_NEAR(optimizer.state()[0].second[1][1].item<double>(), 0.1 * 2.0, 1e-6);
}

TEST(AdamW, DecayTouchesMatricesOnlyUnlessAsked) {
  AdamWConfig config;
  config.weight_decay = 0.5;
  for (const bool decay_vectors : {false, true}) {
    config.decay_vectors = decay_vectors;
    NamedTensors parameters = {{"matrix", parameter(torch::ones({2, 2}))},
                               {"vector", parameter(torch::ones({3}))}};
    for (auto& [name, p] : parameters) p.mutable_grad() = torch::zeros_like(p.detach());
    AdamW(parameters, config).step(0.1);
    EXPECT_TRUE(torch::equal(parameters[0].second.detach(), torch::full({2, 2}, 0.95f)));
    EXPECT_TRUE(torch::equal(parameters[1].second.detach(), torch::full({3}, decay_vectors ? 0.95f : 1.0f)));
  }
}

TEST(AdamW, NoGradientIsAGradientOfZero) {
  auto with_zeros = random_parameters({{4, 5}, {70}}, 8), with_none = random_parameters({{4, 5}, {70}}, 8);
  AdamWConfig config;
  config.weight_decay = 0.1;
  AdamW a(with_zeros, config), b(with_none, config);
  a.step(0.01);
  b.step(0.01);
  with_zeros[1].second.mutable_grad() = torch::zeros({70});
  with_none[1].second.mutable_grad() = Tensor();
  EXPECT_EQ(a.step(0.01).grad_norm, b.step(0.01).grad_norm);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(torch::equal(with_zeros[i].second.detach(), with_none[i].second.detach()));
}

TEST(AdamW, GradientsMayHaveAnyStrides) {
  auto a = random_parameters({{6, 4}}, 9), b = random_parameters({{6, 4}}, 9);
  b[0].second.mutable_grad() = b[0].second.grad().t().contiguous().t();
  ASSERT_FALSE(b[0].second.grad().is_contiguous());
  AdamW(a, {}).step(0.1);
  AdamW(b, {}).step(0.1);
  EXPECT_TRUE(torch::equal(a[0].second.detach(), b[0].second.detach()));
}

TEST(AdamW, ANonFiniteGradientChangesNothing) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    auto parameters = random_parameters({{3, 3}, {5}}, 10);
    AdamW optimizer(parameters, {});
    optimizer.step(0.1);
    const auto before = parameters[0].second.detach().clone(), moments = optimizer.state()[0].second.clone();
    parameters[1].second.mutable_grad()[2] = bad;
    const auto result = optimizer.step(0.1);
    EXPECT_FALSE(result.applied);
    EXPECT_FALSE(std::isfinite(result.grad_norm));
    EXPECT_TRUE(torch::equal(parameters[0].second.detach(), before));
    EXPECT_TRUE(torch::equal(optimizer.state()[0].second, moments));
    EXPECT_EQ(optimizer.num_steps(), 1);
  }
}

TEST(AdamW, AResumedRunRepeatsTheUnbrokenOne) {
  const auto gradients = random_parameters({{30, 20}, {9}}, 11);
  auto unbroken = random_parameters({{30, 20}, {9}}, 12), resumed = random_parameters({{30, 20}, {9}}, 12);
  const auto run = [&](AdamW& optimizer, NamedTensors& parameters, int begin, int end) {
    for (int t = begin; t < end; ++t) {
      for (int i = 0; i < 2; ++i)
        parameters[i].second.mutable_grad() = (t + 1.0) * gradients[i].second.grad().sin();
      optimizer.step(0.01 * (t + 1));
    }
  };
  AdamW a(unbroken, {});
  run(a, unbroken, 0, 6);
  NamedTensors saved;
  {
    AdamW b(resumed, {});
    run(b, resumed, 0, 3);
    for (const auto& [name, tensor] : b.state()) saved.emplace_back(name, tensor.clone());
  }
  AdamW c(resumed, {});
  c.load_state(saved);
  EXPECT_EQ(c.num_steps(), 3);
  run(c, resumed, 3, 6);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(torch::equal(unbroken[i].second.detach(), resumed[i].second.detach()));
  // Without the state the run differs: the comparison above could fail.
  auto other = random_parameters({{30, 20}, {9}}, 12);
  AdamW d(other, {});
  run(d, other, 0, 3);
  AdamW e(other, {});
  run(e, other, 3, 6);
  EXPECT_FALSE(torch::equal(unbroken[0].second.detach(), other[0].second.detach()));
}

TEST(AdamW, StateNamesAndRefusals) {
  auto parameters = random_parameters({{3, 2}, {4}}, 13);
  AdamW optimizer(parameters, {});
  const auto state = optimizer.state();
  ASSERT_EQ(state.size(), 5u);
  EXPECT_EQ(state[0].first, "p0.exp_avg");
  EXPECT_EQ(state[3].first, "p1.exp_avg_sq");
  EXPECT_EQ(state[4].first, "step");
  EXPECT_EQ(optimizer.state_bytes(), 2 * 10 * 4);
  const auto message = [&](NamedTensors spoiled) -> std::string {
    try {
      optimizer.load_state(spoiled);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  auto missing = state;
  missing.erase(missing.begin() + 3);
  EXPECT_NE(message(missing).find("'p1.exp_avg_sq' [4] is missing"), std::string::npos) << message(missing);
  auto shape = state;
  shape[0].second = torch::zeros({2, 3});
  EXPECT_NE(message(shape).find("[2, 3]; accepted: Float [3, 2]"), std::string::npos) << message(shape);
  auto dtype = state;
  dtype[4].second = torch::zeros({});
  EXPECT_NE(message(dtype).find("'step'"), std::string::npos) << message(dtype);
  auto extra = state;
  extra.emplace_back("p9.exp_avg", torch::zeros({1}));
  EXPECT_NE(message(extra).find("'p9.exp_avg'"), std::string::npos) << message(extra);
  EXPECT_EQ(message(state), "");
}

TEST(AdamW, FrozenParametersAreLeftOut) {
  NamedTensors parameters = {{"trained", parameter(torch::ones({2}))}, {"frozen", torch::ones({2})}};
  AdamW optimizer(parameters, {});
  EXPECT_EQ(optimizer.state().size(), 3u);
  EXPECT_EQ(optimizer.grad_norm(), 0.0);
}

TEST(AdamW, ZeroGradDropsTheGradients) {
  auto parameters = random_parameters({{3}}, 14);
  AdamW optimizer(parameters, {});
  optimizer.zero_grad();
  EXPECT_FALSE(parameters[0].second.grad().defined());
}

TEST(AdamW, AGraphThatSavedTheOldValuesNotices) {
  const auto p = parameter(torch::ones({3}));
  const auto loss = (p * p).sum();
  p.mutable_grad() = torch::ones({3});
  AdamW({{"p", p}}, {}).step(0.1);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(AdamW, RefusesParametersItCannotUpdate) {
  const auto p = parameter(torch::ones({2, 3}));
  EXPECT_THROW(AdamW({{"p", p}, {"p", p}}, {}), c10::Error);
  EXPECT_THROW(AdamW({{"p", parameter(torch::ones({2}, torch::kDouble))}}, {}), c10::Error);
  EXPECT_THROW(AdamW({{"p", p * 2}}, {}), c10::Error);
  EXPECT_THROW(AdamW({{"p", torch::ones({2, 3}).t().requires_grad_()}}, {}), c10::Error);
  EXPECT_THROW(AdamW({{"p", Tensor()}}, {}), c10::Error);
}

TEST(AdamWConfig, ReadsAndRefuses) {
  const auto yaml = [](const std::string& text) { return ConfigNode::parse_text(text, "test.yaml"); };
  const auto c = AdamWConfig::parse(
      yaml("beta1: 0.8\nbeta2: 0.95\neps: 1e-6\nweight_decay: 0.1\ndecay_vectors: true\nmax_grad_norm: 0"));
  EXPECT_EQ(c.beta1, 0.8);
  EXPECT_EQ(c.beta2, 0.95);
  EXPECT_EQ(c.eps, 1e-6);
  EXPECT_EQ(c.weight_decay, 0.1);
  EXPECT_TRUE(c.decay_vectors);
  EXPECT_EQ(c.max_grad_norm, 0.0);
  for (const std::string bad :
       {"beta1: 1", "beta2: -0.1", "eps: 0", "weight_decay: -1", "max_grad_norm: -1", "betas: 0.9"}) {
    EXPECT_THROW(AdamWConfig::parse(yaml(bad)), Error) << bad;
  }
}

}  // namespace
}  // namespace r1::train
