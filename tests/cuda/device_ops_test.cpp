#include <ATen/CPUGeneratorImpl.h>

#include "cuda/device_numbers.h"
#include "r1/ops/ops.h"
#include "reference.h"

namespace r1::ops {
namespace {

using test::EmulatedDevice;
using test::expect_device_within_twice_plain;
using test::random_bf16;
using torch::Tensor;

const std::vector<torch::Dtype> kDtypes{torch::kBFloat16, torch::kFloat};

TEST(DeviceOps, RmsNorm) {
  torch::manual_seed(1);
  for (const auto dtype : kDtypes) {
    for (const auto& [N, C] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {7, 100}, {65, 129}}) {
      expect_device_within_twice_plain([](const auto& x) { return ops::rms_norm(x[0], x[1], 1e-5); },
                                       [](const auto& x) { return ref::rms_norm(x[0], x[1], 1e-5); },
                                       {random_bf16({N, C}), random_bf16({C})}, dtype);
    }
    expect_device_within_twice_plain([](const auto& x) { return ops::rms_norm(x[0].transpose(0, 1), x[1], 1e-5); },
                                     [](const auto& x) { return ref::rms_norm(x[0].transpose(0, 1), x[1], 1e-5); },
                                     {random_bf16({3, 5, 24}), random_bf16({24})}, dtype);
  }
}

TEST(DeviceOps, SiluMul) {
  torch::manual_seed(2);
  for (const auto dtype : kDtypes) {
    for (const auto& [N, F] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {9, 37}, {5, 256}}) {
      expect_device_within_twice_plain([](const auto& x) { return ops::silu_mul(x[0], x[1]); },
                                       [](const auto& x) { return ref::silu_mul(x[0], x[1]); },
                                       {random_bf16({N, F}, 5), random_bf16({N, F})}, dtype);
    }
  }
}

TEST(DeviceOps, Rope) {
  torch::manual_seed(3);
  for (const auto dtype : kDtypes) {
    for (const int64_t D : {2, 6, 64}) {
      const auto angle = torch::rand({20, D / 2}, torch::kDouble) * 6;
      const auto positions_N = torch::randint(0, 20, {9}, torch::kLong);
      const auto table = [&](const Tensor& x, bool cosine) {
        return (cosine ? angle.cos() : angle.sin()).to(x.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat);
      };
      expect_device_within_twice_plain(
          [&](const auto& x) { return ops::rope(x[0], positions_N, table(x[0], true), table(x[0], false)); },
          [&](const auto& x) { return ref::rope(x[0], positions_N, table(x[0], true), table(x[0], false)); },
          {random_bf16({9, 3, D})}, dtype);
    }
  }
}

TEST(DeviceOps, LinearAndEmbedding) {
  torch::manual_seed(4);
  for (const auto dtype : kDtypes) {
    expect_device_within_twice_plain([](const auto& x) { return ops::linear(x[0], x[1], x[2]); },
                                     [](const auto& x) { return ref::linear(x[0], x[1], x[2]); },
                                     {random_bf16({7, 33}), random_bf16({20, 33}), random_bf16({20})}, dtype);
    const auto tokens_N = torch::tensor({3, 0, 3, 5, 3}, torch::kLong);
    expect_device_within_twice_plain([&](const auto& x) { return ops::embedding(tokens_N, x[0]); },
                                     [&](const auto& x) { return ref::embedding(tokens_N, x[0]); }, {random_bf16({6, 10})}, dtype);
  }
}

// The twin's logits are rounded to bf16 and its log-probabilities with them; ours are as good as float32.
TEST(DeviceOps, LinearLogprob) {
  torch::manual_seed(5);
  for (const auto& [N, C, V] : std::vector<std::array<int64_t, 3>>{{1, 8, 2}, {5, 24, 130}, {130, 16, 300}}) {
    const auto targets_N = torch::randint(0, V, {N}, torch::kLong);
    const double inv_temperature = 1.0 / 0.7;
    const test::TensorFn ours = [&](const auto& x) { return std::get<0>(ops::linear_logprob(x[0], x[1], targets_N, inv_temperature)); };
    const test::TensorFn plain = [&](const auto& x) { return std::get<0>(ref::linear_logprob(x[0], x[1], targets_N, inv_temperature)); };
    const std::vector<Tensor> inputs{random_bf16({N, C}), random_bf16({V, C}, 0.3)};
    for (const auto dtype : kDtypes) expect_device_within_twice_plain(ours, plain, inputs, dtype);

    const EmulatedDevice device;
    const auto [logprobs_N, entropy_N] =
        ops::linear_logprob(inputs[0].to(torch::kBFloat16), inputs[1].to(torch::kBFloat16), targets_N, inv_temperature);
    const auto [exact_N, exact_entropy_N] = ref::linear_logprob(inputs[0], inputs[1], targets_N, inv_temperature);
    EXPECT_EQ(logprobs_N.scalar_type(), torch::kFloat);
    EXPECT_LE((logprobs_N - exact_N).abs().max().item<double>(), 5e-6) << V;
    EXPECT_LE((entropy_N - exact_entropy_N).abs().max().item<double>(), 5e-6) << V;
    EXPECT_EQ(device.calls().at("linear_logprob"), 1);
  }
}

// A prompt with two completions, and a sequence of its own.
PackedLayout shared_prompt(int64_t prompt, int64_t first, int64_t second, int64_t other) {
  PackedLayout layout;
  const auto prefix = layout.add_sequence(prompt);
  layout.add_continuation(prefix, first);
  layout.add_continuation(prefix, second);
  layout.add_sequence(other);
  layout.finish();
  return layout;
}

TEST(DeviceOps, Attention) {
  torch::manual_seed(6);
  struct Shape {
    int64_t H, h, D, V;
    bool kernel;
  };
  for (const auto& s : std::vector<Shape>{{4, 2, 64, 64, true}, {2, 1, 128, 128, true}, {2, 2, 192, 128, true}, {4, 2, 16, 16, false}}) {
    const auto layout = shared_prompt(21, 5, 130, 3);
    const int64_t N = layout.num_rows;
    const double scale = 1 / std::sqrt(static_cast<double>(s.D));
    expect_device_within_twice_plain([&](const auto& x) { return ops::attention(x[0], x[1], x[2], layout, scale); },
                                     [&](const auto& x) { return ref::attention(x[0], x[1], x[2], layout, scale); },
                                     {random_bf16({N, s.H, s.D}), random_bf16({N, s.h, s.D}), random_bf16({N, s.h, s.V})},
                                     torch::kBFloat16);
    const EmulatedDevice device;
    const auto q = random_bf16({N, s.H, s.D}).to(torch::kBFloat16), k = random_bf16({N, s.h, s.D}).to(torch::kBFloat16);
    ops::attention(q, k, random_bf16({N, s.h, s.V}).to(torch::kBFloat16), layout, scale);
    EXPECT_EQ(device.calls().count("attention"), s.kernel ? 1U : 0U) << "width " << s.D;
  }
}

TEST(DeviceOps, RunTheKernelsInsideTheScopeAlone) {
  const auto x = torch::randn({4, 16}).to(torch::kBFloat16).requires_grad_(true), w = torch::ones({16}, torch::kBFloat16);
  {
    const EmulatedDevice device;
    ops::rms_norm(x, w, 1e-5).sum().backward();  // a gradient of stride 0
    EXPECT_EQ(device.calls().at("rms_norm"), 1);
    EXPECT_EQ(device.calls().at("rms_norm backward"), 1);
    ops::rms_norm(x.to(torch::kDouble), w.to(torch::kDouble), 1e-5);
    EXPECT_EQ(device.calls().at("rms_norm"), 1) << "float64 is the twin's";
  }
  const EmulatedDevice device;
  EXPECT_TRUE(device.calls().empty());
}

TEST(DeviceOps, EmptyRows) {
  const EmulatedDevice device;
  const auto w = torch::ones({16}, torch::kBFloat16);
  const auto x = torch::zeros({0, 16}, torch::kBFloat16).requires_grad_(true);
  ops::silu_mul(ops::rms_norm(x, w, 1e-5), x).sum().backward();
  EXPECT_EQ(x.grad().size(0), 0);
  const auto positions_N = torch::zeros({0}, torch::kLong);
  EXPECT_EQ(ops::rope(x.view({0, 2, 8}), positions_N, torch::ones({4, 4}), torch::ones({4, 4})).numel(), 0);
  const auto h = x.detach().requires_grad_(true), head = torch::ones({9, 16}, torch::kBFloat16).requires_grad_(true);
  std::get<0>(ops::linear_logprob(h, head, positions_N, 1.0)).sum().backward();
  EXPECT_EQ(head.grad().abs().sum().item<double>(), 0);
}

}  // namespace
}  // namespace r1::ops
