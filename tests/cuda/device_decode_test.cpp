// The sampling engine with the emulator as its device: pages, shared prefixes, draws and steps one ahead of the host, against the packed
// forward pass of the same weights.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <numeric>

#include "r1/ops/ops.h"
#include "r1/rollout/engine.h"
#include "r1/util/random.h"
#include "support/emulated_device.h"

namespace r1::rollout {
namespace {

using r1::test::EmulatedDevice;
using torch::Tensor;

Tokenizer tokenizer() { return Tokenizer::characters("0123456789+-*= abcdefghijklmnopqrstuvwxyz", {"<pad>", "<bos>", "<eos>"}); }

model::ModelConfig grouped_query() {
  model::ModelConfig c;
  c.architecture = "Qwen2ForCausalLM";
  c.vocab_size = tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 6;
  c.num_kv_heads = 2;
  c.head_dim = 16;
  c.max_positions = 200;
  c.qkv_bias = true;
  c.initializer_range = 0.2;
  return c;
}

// Latent attention, experts in the second of two layers.
model::ModelConfig deepseek() {
  model::ModelConfig c;
  c.architecture = "DeepseekV3ForCausalLM";
  c.vocab_size = tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = c.num_kv_heads = 4;
  c.q_lora_rank = 24;
  c.kv_lora_rank = 16;
  c.qk_nope_head_dim = c.v_head_dim = 8;
  c.qk_rope_head_dim = c.head_dim = 8;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 2;
  c.n_shared_experts = 1;
  c.moe_intermediate_size = 16;
  c.first_k_dense_replace = 1;
  c.max_positions = 200;
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

// The first has two whole pages that its completions share, the second none, the last exactly one.
std::vector<Prompt> prompts() {
  std::vector<Prompt> out;
  for (const auto* text : {"0123456789 abcdefghij 0123456789+-*= z", "12+7=", "the quick brown "}) {
    out.push_back({tokenizer().encode(text), static_cast<uint32_t>(out.size())});
  }
  return out;
}

SamplingConfig sampling(double temperature, int64_t tokens, bool stop_at_eos = false) {
  SamplingConfig s;
  s.rule.temperature = temperature;
  s.max_completion_tokens = tokens;
  s.stop_at_eos = stop_at_eos;
  return s;
}

// Log-probabilities of all tokens behind each one of a sequence, by the packed forward pass: [tokens, V] float64. `routes`: the experts
// to take, as the engine records them for one expert layer of K = 2; empty: the model chooses.
Tensor packed_logprobs(model::Transformer& model, const std::vector<int32_t>& tokens, const std::vector<int16_t>& routes = {}) {
  const torch::NoGradGuard no_grad;
  ops::PackedLayout layout;
  layout.add_sequence(static_cast<int64_t>(tokens.size()));
  layout.finish();
  const auto routing = std::make_shared<model::Routing>();
  if (!routes.empty()) routing->chosen_experts = {torch::tensor(routes, torch::kShort).to(torch::kLong).view({-1, 2})};
  const auto hidden = model->hidden(torch::tensor(tokens, torch::kInt).to(torch::kLong), layout, routing);
  return torch::log_softmax(model->logits(hidden).to(torch::kDouble), 1);
}

std::vector<int32_t> whole(const RolloutGroup& group, const Completion& c) {
  auto tokens = group.prompt.tokens;
  tokens.insert(tokens.end(), c.tokens.begin(), c.tokens.end());
  return tokens;
}
std::vector<int16_t> whole_routes(const RolloutGroup& group, const Completion& c) {
  auto routes = group.prompt_routes;
  routes.insert(routes.end(), c.routes.begin(), c.routes.end());
  return routes;
}

constexpr double kBf16 = 1.0 / 256;

// Recorded log-probabilities of a completion err at most twice as much as the packed twin in bf16. All take the experts that the engine
// took: rounding may turn a choice that is nearly a tie, which says nothing about the rest.
void expect_packed_logprobs(const model::ModelConfig& config, const std::vector<RolloutGroup>& groups, double temperature) {
  auto exact_model = make_model(config, at::kDouble), twin_model = make_model(config, at::kBFloat16);
  double worst = 0, twins = 0;
  for (const auto& group : groups) {
    const auto P = group.prompt.tokens.size();
    for (const auto& c : group.completions) {
      auto tokens = whole(group, c);
      tokens.pop_back();  // nothing is drawn behind it, and it has no route
      const auto routes = whole_routes(group, c);
      const auto exact = packed_logprobs(exact_model, tokens, routes), twin = packed_logprobs(twin_model, tokens, routes);
      for (size_t i = 0; i < c.tokens.size(); ++i) {
        const auto row = static_cast<int64_t>(P + i) - 1;
        const double logprob = exact[row][c.tokens[i]].item<double>();
        worst = std::max(worst, std::abs(c.rollout_logprobs[i] - logprob));
        twins = std::max(twins, std::abs(twin[row][c.tokens[i]].item<double>() - logprob));
        if (temperature == 0) {
          EXPECT_GE(logprob, exact[row].max().item<double>() - 0.2) << "token " << i << " is not the likeliest";
        }
      }
    }
  }
  EXPECT_LE(worst, 2 * twins + kBf16) << "the twin's largest error is " << twins;
  std::printf("[          ] largest error of a log-probability %.4f, of the packed twin in bf16 %.4f\n", worst, twins);
}

TEST(DeviceDecode, AgreesWithThePackedForward) {
  for (const auto& config : {grouped_query(), deepseek()}) {
    std::vector<RolloutGroup> groups;
    {
      const EmulatedDevice device;
      Engine engine(make_model(config, at::kBFloat16), tokenizer(), {.max_batch = 8});
      engine.record_routes = true;
      groups = engine.sample(prompts(), 3, sampling(1, 20), {9, 1, 2});
      for (const auto* name : {"write_pages", "cached_attention", "draw_tokens"}) EXPECT_GT(device.calls().count(name), 0U) << name;
    }
    for (const auto& group : groups) {
      for (const auto& c : group.completions) EXPECT_EQ(c.tokens.size(), 20U);
    }
    expect_packed_logprobs(config, groups, 1);
  }
}

TEST(DeviceDecode, GreedyTakesTheLikeliest) {
  for (const auto& config : {grouped_query(), deepseek()}) {
    std::vector<RolloutGroup> groups;
    {
      const EmulatedDevice device;
      Engine engine(make_model(config, at::kBFloat16), tokenizer(), {.max_batch = 8});
      engine.record_routes = true;
      groups = engine.sample(prompts(), 1, sampling(0, 12), {});
    }
    expect_packed_logprobs(config, groups, 0);
  }
}

// A draw inverts the distribution at its own uniform, whatever else decodes.
TEST(DeviceDecode, DrawsAreThoseOfTheUniforms) {
  const auto config = grouped_query();
  const DrawOrigin origin{9, 1, 2};
  std::vector<RolloutGroup> groups;
  {
    const EmulatedDevice device;
    Engine engine(make_model(config, at::kBFloat16), tokenizer(), {.max_batch = 4});
    groups = engine.sample(prompts(), 4, sampling(1, 8), origin);
  }
  auto exact_model = make_model(config, at::kDouble);
  for (const auto& group : groups) {
    for (size_t g = 0; g < group.completions.size(); ++g) {
      const auto& c = group.completions[g];
      const auto below = packed_logprobs(exact_model, whole(group, c)).exp().cumsum(1);
      for (size_t i = 0; i < c.tokens.size(); ++i) {
        const double u = draw_uniform({origin.seed, Stream::kSampling, origin.stage, origin.step, group.prompt.index,
                                       static_cast<uint32_t>(g), static_cast<uint32_t>(i)});
        const auto row = below[static_cast<int64_t>(group.prompt.tokens.size() + i) - 1];
        EXPECT_LE(u, row[c.tokens[i]].item<double>() + 0.02);
        EXPECT_GE(u, (c.tokens[i] > 0 ? row[c.tokens[i] - 1].item<double>() : 0) - 0.02);
      }
    }
  }
}

// Ends that the host finds a step late leave nothing behind: the same texts with 1 to 16 sequences at a time, and in a second call.
TEST(DeviceDecode, ManySequencesComeAndGo) {
  const EmulatedDevice device;
  const auto model = make_model(grouped_query(), at::kBFloat16);
  auto s = sampling(1, 30, true);
  s.stop = {"7", "qu"};
  const auto lengths = [&](Engine& engine) {
    std::vector<size_t> out;
    int64_t finished = 0;
    const auto groups = engine.sample(prompts(), 6, s, {4, 5, 6}, [&](int64_t done, int64_t total) {
      EXPECT_LE(done, total);
      finished = done;
    });
    EXPECT_EQ(finished, 18);
    for (const auto& group : groups) {
      for (const auto& c : group.completions) {
        EXPECT_EQ(c.tokens.size(), c.rollout_logprobs.size());
        const auto text = tokenizer().decode(c.tokens);
        const bool stops = text.ends_with("7") || text.ends_with("qu");
        EXPECT_EQ(c.finish == Finish::kStopText, stops) << text;
        EXPECT_EQ(c.finish == Finish::kEos, c.tokens.back() == tokenizer().eos_ids()[0]) << text;
        if (c.finish == Finish::kLength) EXPECT_EQ(c.tokens.size(), 30U);
        out.push_back(c.tokens.size());
      }
    }
    return out;
  };
  Engine many(model, tokenizer(), {.max_batch = 16});
  const auto first = lengths(many);
  EXPECT_LT(*std::min_element(first.begin(), first.end()), *std::max_element(first.begin(), first.end()));
  EXPECT_EQ(lengths(many), first);
  EXPECT_EQ(many.stats().generated_tokens, 2 * std::accumulate(first.begin(), first.end(), int64_t{0}));
  Engine few(model, tokenizer(), {.max_batch = 3});
  EXPECT_EQ(lengths(few), first);
  const auto page = model::KvCache::bytes_per_page(model->config(), false, at::kBFloat16);
  Engine tight(model, tokenizer(), {.max_batch = 16, .kv_cache_bytes = 12 * page});
  EXPECT_EQ(lengths(tight), first);
}

TEST(DeviceDecode, RecordsRoutes) {
  const auto config = deepseek();
  std::vector<RolloutGroup> groups;
  {
    const EmulatedDevice device;
    Engine engine(make_model(config, at::kBFloat16), tokenizer(), {.max_batch = 4});
    engine.record_routes = true;
    groups = engine.sample(prompts(), 2, sampling(1, 6), {});
  }
  auto twin = make_model(config, at::kBFloat16);
  int64_t routes = 0, equal = 0;
  for (const auto& group : groups) {
    ASSERT_EQ(group.prompt_routes.size(), group.prompt.tokens.size() * 2);
    for (const auto& c : group.completions) {
      ASSERT_EQ(c.routes.size(), (c.tokens.size() - 1) * 2);
      auto tokens = whole(group, c);
      tokens.pop_back();
      const torch::NoGradGuard no_grad;
      ops::PackedLayout layout;
      layout.add_sequence(static_cast<int64_t>(tokens.size()));
      layout.finish();
      const auto routing = std::make_shared<model::Routing>();
      twin->hidden(torch::tensor(tokens, torch::kInt).to(torch::kLong), layout, routing);
      const auto recorded = whole_routes(group, c);
      for (size_t i = 0; i < recorded.size(); ++i) {
        ++routes;
        equal += routing->experts[0].data_ptr<int64_t>()[i] == recorded[i] ? 1 : 0;
      }
    }
  }
  EXPECT_GE(equal, routes * 9 / 10) << "of " << routes;
}

TEST(DeviceDecode, SampleTokensIsTheCpus) {
  torch::manual_seed(3);
  const auto logits = (torch::randn({5, 500}) * 3).to(torch::kBFloat16).to(torch::kFloat);
  std::vector<int64_t> row_of;
  std::vector<double> uniforms;
  for (uint32_t i = 0; i < 200; ++i) {
    row_of.push_back(i % 5);
    uniforms.push_back(draw_uniform({.seed = 3, .stream = Stream::kTest, .position = i}));
  }
  for (const ops::SamplingRule& rule : std::vector<ops::SamplingRule>{
           {1, 0, 1, 0}, {0.6, 0, 0.95, 0}, {1, 20, 1, 0}, {0, 0, 1, 0}, {1, 0, 1, 0.1}, {1.3, 40, 0.8, 0.01}}) {
    const auto cpu = ops::sample_tokens(logits, row_of, uniforms, rule);
    for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
      const EmulatedDevice device;
      const auto got = ops::sample_tokens(logits.to(dtype), row_of, uniforms, rule);
      EXPECT_EQ(device.calls().at("draw_tokens"), 1);
      EXPECT_EQ(got.tokens, cpu.tokens) << "top_k " << rule.top_k << " top_p " << rule.top_p << " min_p " << rule.min_p;
      for (size_t i = 0; i < uniforms.size(); ++i) EXPECT_NEAR(got.logprobs[i], cpu.logprobs[i], 2e-6);
    }
  }
}

}  // namespace
}  // namespace r1::rollout
