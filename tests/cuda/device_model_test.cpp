// Whole tiny transformers on the emulated device, forward, backward and update, against float64 and against the CPU.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/algo/grpo_loss.h"
#include "r1/model/transformer.h"
#include "r1/ops/ops.h"
#include "r1/train/batch.h"
#include "r1/train/optimizer.h"
#include "r1/train/stage.h"
#include "support/compare.h"
#include "support/emulated_device.h"

namespace r1::train {
namespace {

using r1::test::EmulatedDevice;
using r1::test::relative_error;
using torch::Tensor;

// Widths that the attention kernels have; `narrow`: that they have not, which is quicker where attention is not the point.
model::ModelConfig grouped_query(bool narrow = false) {
  model::ModelConfig c;
  c.architecture = "Qwen3ForCausalLM";
  c.vocab_size = 40;
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = narrow ? 16 : 64;
  c.max_positions = 64;
  c.tie_embeddings = true;
  c.qk_norm = true;
  c.initializer_range = 0.2;
  return c;
}

// Latent attention, experts in the second of two layers.
model::ModelConfig deepseek(bool narrow = false) {
  model::ModelConfig c;
  c.architecture = "DeepseekV3ForCausalLM";
  c.vocab_size = 40;
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = c.num_kv_heads = 2;
  c.q_lora_rank = 24;
  c.kv_lora_rank = 16;
  c.qk_nope_head_dim = c.v_head_dim = narrow ? 16 : 128;
  c.qk_rope_head_dim = c.head_dim = narrow ? 8 : 64;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 2;
  c.n_shared_experts = 1;
  c.moe_intermediate_size = 16;
  c.first_k_dense_replace = 1;
  c.max_positions = 64;
  c.initializer_range = 0.2;
  return c;
}

// Weights that bf16 holds exactly, so that every dtype starts from the same ones.
model::Transformer make_model(const model::ModelConfig& config, at::ScalarType dtype) {
  model::Transformer model(config);
  model->initialize(5);
  model->place(at::kCPU, at::kBFloat16);
  model->place(at::kCPU, dtype);
  return model;
}

std::vector<PackedBatch> batches(int64_t max_tokens) {
  const std::vector<TokenTree> trees{{{1, 7, 3, 9, 30}, {{4, 5, 6, 2}, {8, 11, 2}}}, {{1, 12}, {{13, 39, 0, 15, 16, 17, 2}}}};
  return pack_micro_batches(trees, max_tokens);
}

Tensor loss_of(model::Transformer& model, const PackedBatch& b, const model::RoutingPtr& routing = nullptr) {
  const auto hidden = model->hidden(b.tokens_N, b.layout, routing);
  const auto [logprobs_M, entropy_M] = model->logprobs(ops::embedding(b.rows_M, hidden), b.targets_M, 1.25);
  return -logprobs_M.sum() / 14.0;
}

struct Pass {
  double loss;
  std::map<std::string, Tensor> gradients;
  std::vector<Tensor> experts;  // of each expert layer: where the tokens went
};

// `experts`: taken instead of choosing. Rounding may turn a choice that is nearly a tie, and then gradients have nothing in common.
Pass run(model::Transformer& model, const std::vector<Tensor>& experts = {}) {
  const auto routing = std::make_shared<model::Routing>();
  routing->chosen_experts = experts;
  const auto loss = loss_of(model, batches(1 << 20)[0], routing);
  loss.backward();
  Pass pass{loss.item<double>(), {}, routing->experts};
  for (const auto& item : model->named_parameters()) {
    pass.gradients[item.key()] = item.value().grad().defined() ? item.value().grad().clone() : torch::zeros_like(item.value());
  }
  return pass;
}

// The reference computed from the same weights by the twins in bf16 alone sets the scale: ours may err at most twice as much.
void expect_gradients_as_good_as_twins(const model::ModelConfig& config, const std::vector<std::string>& kernels) {
  auto exact_model = make_model(config, at::kDouble), twin_model = make_model(config, at::kBFloat16),
       device_model = make_model(config, at::kBFloat16);
  const auto exact = run(exact_model), twin = run(twin_model, exact.experts);
  const EmulatedDevice device;
  const auto got = run(device_model, exact.experts);
  EXPECT_NEAR(got.loss, exact.loss, 2 * std::abs(twin.loss - exact.loss) + 0.004 * exact.loss);
  double worst = 0;
  for (const auto& [name, gradient] : exact.gradients) {
    const double error = relative_error(got.gradients.at(name), gradient);
    worst = std::max(worst, error);
    EXPECT_LE(error, 2 * relative_error(twin.gradients.at(name), gradient) + 0.02) << name;
  }
  testing::Test::RecordProperty("largest_gradient_error", std::to_string(worst));
  for (const auto& name : kernels) EXPECT_GT(device.calls().count(name), 0U) << name << " was not called";
}

const std::vector<std::string> kKernels{"rms_norm", "rms_norm backward", "rope",           "silu_mul",
                                        "silu_mul backward", "linear_logprob", "linear_logprob backward", "attention", "attention backward"};

TEST(DeviceModel, GroupedQueryGradients) { expect_gradients_as_good_as_twins(grouped_query(), kKernels); }
TEST(DeviceModel, DeepseekGradients) {
  auto kernels = kKernels;
  kernels.insert(kernels.end(), {"moe_gate", "moe_gate backward", "order_by_expert", "grouped_outer"});
  expect_gradients_as_good_as_twins(deepseek(), kernels);
}

TEST(DeviceModel, CheckpointedBlocksGiveTheSameBits) {
  const EmulatedDevice device;
  for (const auto& config : {grouped_query(true), deepseek(true)}) {
    auto plain = make_model(config, at::kBFloat16), recomputed = make_model(config, at::kBFloat16);
    recomputed->activation_checkpointing = true;
    const auto a = run(plain), b = run(recomputed);
    EXPECT_EQ(a.loss, b.loss);
    for (const auto& [name, gradient] : a.gradients) EXPECT_TRUE(torch::equal(gradient, b.gradients.at(name))) << name;
  }
}

// The device's update is the CPU's of the same gradients.
TEST(DeviceModel, OptimizerUpdatesMastersAndCopies) {
  AdamWConfig config;
  config.weight_decay = 0.1;
  config.max_grad_norm = 0.5;
  auto cpu_model = make_model(grouped_query(true), at::kFloat), device_model = make_model(grouped_query(true), at::kFloat);
  AdamW cpu(trainable_parameters(cpu_model), config);
  const EmulatedDevice scope;
  AdamW device(trainable_parameters(device_model), config);
  for (const auto& p : device_model->parameters()) EXPECT_EQ(p.scalar_type(), at::kBFloat16);
  for (int step = 0; step < 3; ++step) {
    device.zero_grad();
    for (const auto& b : batches(12)) loss_of(device_model, b).backward();  // two micro-batches
    for (const auto& p : device_model->parameters()) EXPECT_FALSE(p.grad().defined()) << "taken over by the sum";
    const auto sums = device.gradients();
    const auto parameters = trainable_parameters(cpu_model);
    for (size_t i = 0; i < parameters.size(); ++i) parameters[i].second.mutable_grad() = sums[i].second.clone();
    const auto expected = cpu.step(1e-2), got = device.step(1e-2);
    EXPECT_TRUE(got.applied);
    EXPECT_NEAR(got.grad_norm, expected.grad_norm, 1e-5 * expected.grad_norm);
    EXPECT_NEAR(got.gradient_scale, expected.gradient_scale, 1e-5);
    EXPECT_LT(expected.gradient_scale, 1) << "clipping is part of the test";
    const auto masters = device.with_masters({device_model->named_tensors()}).tensors;
    const auto weights = cpu_model->named_tensors(), copies = device_model->named_tensors();
    for (size_t i = 0; i < masters.size(); ++i) {
      ASSERT_EQ(masters[i].first, weights[i].first);
      EXPECT_EQ(masters[i].second.scalar_type(), at::kFloat);
      EXPECT_LE(relative_error(masters[i].second, weights[i].second), 2e-6) << masters[i].first;
      EXPECT_TRUE(torch::equal(copies[i].second, masters[i].second.to(at::kBFloat16))) << masters[i].first;
    }
  }
  EXPECT_EQ(scope.calls().at("gradient_norm"), 3);
}

TEST(DeviceModel, MicroBatchesAddUpInFloat32) {
  const EmulatedDevice scope;
  auto whole_model = make_model(grouped_query(true), at::kFloat), split_model = make_model(grouped_query(true), at::kFloat);
  AdamW whole(trainable_parameters(whole_model), {}), split(trainable_parameters(split_model), {});
  for (const auto& b : batches(1 << 20)) loss_of(whole_model, b).backward();
  for (const auto& b : batches(12)) loss_of(split_model, b).backward();
  const auto a = whole.gradients(), b = split.gradients();
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(b[i].second.scalar_type(), at::kFloat);
    EXPECT_LE(relative_error(b[i].second, a[i].second), 0.03) << a[i].first;
  }
}

TEST(DeviceModel, AGradientThatIsNotFiniteChangesNothing) {
  const EmulatedDevice scope;
  auto model = make_model(grouped_query(true), at::kFloat);
  AdamW optimizer(trainable_parameters(model), {});
  const auto before = model->named_tensors()[3].second.clone();
  (loss_of(model, batches(1 << 20)[0]) * std::numeric_limits<double>::infinity()).backward();
  EXPECT_FALSE(optimizer.step(1e-2).applied);
  EXPECT_EQ(optimizer.num_steps(), 0);
  EXPECT_TRUE(torch::equal(before, model->named_tensors()[3].second));
}

// bf16 on the device learns what float32 on the CPU learns.
TEST(DeviceModel, TrainsLikeTheCpu) {
  AdamWConfig config;
  const auto train = [&](model::Transformer model) {
    AdamW optimizer(trainable_parameters(model), config);
    std::vector<double> losses;
    for (int step = 0; step < 12; ++step) {
      optimizer.zero_grad();
      losses.push_back(0);
      for (const auto& b : batches(12)) {
        const auto loss = loss_of(model, b);
        loss.backward();
        losses.back() += loss.item<double>();
      }
      optimizer.step(1e-2);
    }
    return losses;
  };
  for (const auto& shape : {grouped_query(true), deepseek(true)}) {
    const auto cpu = train(make_model(shape, at::kFloat));
    const EmulatedDevice scope;
    auto model = make_model(shape, at::kFloat);
    const auto device = train(model);
    for (const auto& layer : model->expert_layers()) {
      const auto parts = layer->matrices();
      EXPECT_TRUE(ops::stacked_experts(parts).down_ECF.is_alias_of(parts[1].down_CF)) << "products must not copy the experts";
    }
    EXPECT_LT(cpu.back(), 0.5 * cpu.front());
    for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(device[i], cpu[i], 0.05 * cpu[0]) << "step " << i;
  }
}

// Cached rows equal packed ones up to bf16; positions, tables and tokens are where the model is.
TEST(DeviceModel, CachedEqualsPacked) {
  const torch::NoGradGuard no_grad;
  const EmulatedDevice scope;
  for (const auto& config : {grouped_query(), deepseek()}) {
    auto model = make_model(config, at::kBFloat16);
    const auto tokens_N = torch::tensor({1, 7, 3, 9, 30, 4, 5, 6, 2, 17, 8, 11, 20, 21, 22, 23, 24, 25, 26}, torch::kLong);
    ops::PackedLayout layout;
    layout.add_sequence(tokens_N.size(0));
    layout.finish();
    const auto routing = std::make_shared<model::Routing>();
    const auto packed = model->logits(model->hidden(tokens_N, layout, routing));
    const auto of_rows = [&](int64_t begin, int64_t count) {  // the same experts: see run()
      const auto some = std::make_shared<model::Routing>();
      for (const auto& experts_NK : routing->experts) some->chosen_experts.push_back(experts_NK.narrow(0, begin, count));
      return some;
    };
    model::KvCache cache(config, 4, model->head_weight().options().requires_grad(false));
    const std::vector<int32_t> pages{cache.take(), cache.take()};
    const auto first = model->logits(model->hidden_cached(tokens_N.narrow(0, 0, 15), cache, {{0, 15, 0, &pages}}, of_rows(0, 15)));
    const auto rest = model->logits(model->hidden_cached(tokens_N.narrow(0, 15, 4), cache, {{0, 4, 15, &pages}}, of_rows(15, 4)));
    EXPECT_LE(relative_error(torch::cat({first, rest}), packed), 0.02);
  }
}

}  // namespace
}  // namespace r1::train
