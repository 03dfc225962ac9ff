#include "r1/rollout/engine.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <map>

#include "r1/util/error.h"

namespace r1::rollout {
namespace {

const std::string kCharacters = "0123456789+-*= abcdefghijklmnopqrstuvwxyz";

Tokenizer tokenizer() { return Tokenizer::characters(kCharacters, {"<pad>", "<bos>", "<eos>"}); }

model::Transformer small_model(int64_t max_positions = 128) {
  model::ModelConfig c;
  c.vocab_size = tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 8;
  c.max_positions = max_positions;
  c.initializer_range = 0.4;
  model::Transformer model(c);
  model->initialize(3);
  return model;
}

// Latent attention, and experts from the second layer on.
model::Transformer small_mixture() {
  model::ModelConfig c;
  c.architecture = "DeepseekV3ForCausalLM";
  c.vocab_size = tokenizer().vocab_size();
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_layers = 3;
  c.num_heads = c.num_kv_heads = 4;
  c.q_lora_rank = 20;
  c.kv_lora_rank = 18;
  c.qk_nope_head_dim = 8;
  c.qk_rope_head_dim = c.head_dim = 4;
  c.v_head_dim = 10;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 3;
  c.n_shared_experts = 1;
  c.moe_intermediate_size = 12;
  c.first_k_dense_replace = 1;
  c.n_group = 4;
  c.topk_group = 2;
  c.max_positions = 128;
  c.initializer_range = 0.4;
  model::Transformer model(c);
  model->initialize(3);
  return model;
}

std::vector<Prompt> prompts(const std::vector<std::string>& texts) {
  std::vector<Prompt> out;
  for (const auto& text : texts) out.push_back({tokenizer().encode(text), static_cast<uint32_t>(out.size())});
  return out;
}

const std::vector<std::string> kTexts{"12+7=", "a", "the quick brown fox jumps", "0123456789012345", "9*9=", "zz top"};

SamplingConfig sampling(int64_t tokens) {
  SamplingConfig s;
  s.max_completion_tokens = tokens;
  return s;
}

void expect_equal(const std::vector<RolloutGroup>& a, const std::vector<RolloutGroup>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t p = 0; p < a.size(); ++p) {
    for (size_t g = 0; g < a[p].completions.size(); ++g) {
      EXPECT_EQ(a[p].completions[g].tokens, b[p].completions[g].tokens) << p << "," << g;
      EXPECT_EQ(a[p].completions[g].rollout_logprobs, b[p].completions[g].rollout_logprobs) << p << "," << g;
    }
  }
}

TEST(Engine, TellsOfEachCompletionOnceWhenItEnds) {
  const auto all = prompts(kTexts);
  Engine engine(small_model(), tokenizer(), {.max_batch = 3});
  std::map<std::pair<size_t, size_t>, std::vector<int32_t>> told;
  const auto groups = engine.sample(all, 4, sampling(20), {5, 1, 9}, {}, [&](size_t prompt, size_t sample, const Completion& completion) {
    EXPECT_TRUE(told.emplace(std::pair{prompt, sample}, completion.tokens).second);
  });
  EXPECT_EQ(told.size(), 4 * all.size());
  for (size_t p = 0; p < groups.size(); ++p) {
    for (size_t g = 0; g < 4; ++g) EXPECT_EQ((told[{p, g}]), groups[p].completions[g].tokens);
  }
}

TEST(Engine, CompletionsAreTheSameBitsWhateverElseIsInTheBatch) {
  for (const auto& model : {small_model(), small_mixture()}) {
    const DrawOrigin origin{5, 1, 9};
    const auto all = prompts(kTexts);
    Engine wide(model, tokenizer(), {.max_batch = 64});
    const auto expected = wide.sample(all, 8, sampling(40), origin);
    for (const int64_t batch : {1, 3, 7}) {
      Engine narrow(model, tokenizer(), {.max_batch = batch, .prefill_tokens = 10});
      expect_equal(expected, narrow.sample(all, 8, sampling(40), origin));
    }
    for (size_t p = 0; p < all.size(); ++p) {  // alone
      Engine alone(model, tokenizer(), {});
      expect_equal({expected[p]}, alone.sample({all[p]}, 8, sampling(40), origin));
    }
  }
}

TEST(Engine, RecordsTheExpertsOfEveryTokenItComputed) {
  const auto model = small_mixture();
  Engine engine(model, tokenizer(), {.max_batch = 5});
  engine.record_routes = true;
  const auto groups = engine.sample(prompts(kTexts), 3, sampling(20), {1, 2, 3});
  const auto per_token = static_cast<size_t>(model->config().num_expert_layers() * model->config().num_experts_per_tok);
  for (const auto& group : groups) {
    const auto P = group.prompt.tokens.size();
    ASSERT_EQ(group.prompt_routes.size(), P * per_token);
    for (const auto& c : group.completions) {
      ASSERT_EQ(c.routes.size(), (c.tokens.size() - 1) * per_token);
      ops::PackedLayout layout;  // the whole sequence by the trainer's pass
      std::vector<int64_t> ids(group.prompt.tokens.begin(), group.prompt.tokens.end());
      ids.insert(ids.end(), c.tokens.begin(), c.tokens.end() - 1);
      layout.add_sequence(static_cast<int64_t>(ids.size()));
      layout.finish();
      const auto routing = std::make_shared<model::Routing>();
      const torch::NoGradGuard no_grad;
      model::Transformer(model)->hidden(torch::tensor(ids, torch::kLong), layout, routing);
      std::vector<int16_t> expected;
      for (size_t i = 0; i < ids.size(); ++i) {
        for (const auto& experts : routing->experts) {
          for (int64_t k = 0; k < experts.size(1); ++k) expected.push_back(static_cast<int16_t>(experts[static_cast<int64_t>(i)][k].item<int64_t>()));
        }
      }
      auto recorded = group.prompt_routes;
      recorded.insert(recorded.end(), c.routes.begin(), c.routes.end());
      EXPECT_EQ(recorded, expected);
    }
  }
}

TEST(Engine, ASmallCacheOnlyTakesLonger) {
  const auto model = small_model();
  const DrawOrigin origin{5, 1, 9};
  Engine large(model, tokenizer(), {});
  Engine small(model, tokenizer(), {.kv_cache_bytes = 8 * model::KvCache::bytes_per_page(model->config())});
  expect_equal(large.sample(prompts(kTexts), 5, sampling(40), origin), small.sample(prompts(kTexts), 5, sampling(40), origin));
  EXPECT_GT(small.stats().decode_steps, large.stats().decode_steps);
}

class EngineLogprobs : public ::testing::TestWithParam<bool> {};

TEST_P(EngineLogprobs, EqualTheTrainersBitForBit) {
  const auto model = GetParam() ? small_mixture() : small_model();
  Engine engine(model, tokenizer(), {});
  auto rule = sampling(30);
  rule.rule.temperature = 0.8;
  const auto groups = engine.sample(prompts(kTexts), 4, rule, {1, 2, 3});
  for (const auto& group : groups) {
    const auto P = static_cast<int64_t>(group.prompt.tokens.size());
    ops::PackedLayout layout;
    const auto prefix = layout.add_sequence(P);
    std::vector<int64_t> tokens(group.prompt.tokens.begin(), group.prompt.tokens.end()), rows, targets;
    std::vector<float> recorded;
    for (const auto& c : group.completions) {
      const int64_t first = layout.num_rows;
      layout.add_continuation(prefix, static_cast<int64_t>(c.tokens.size()));
      for (size_t t = 0; t < c.tokens.size(); ++t) {
        rows.push_back(t == 0 ? P - 1 : first + static_cast<int64_t>(t) - 1);
        targets.push_back(c.tokens[t]);
        tokens.push_back(c.tokens[t]);
        recorded.push_back(c.rollout_logprobs[t]);
      }
    }
    layout.finish();
    const auto hidden = model::Transformer(model)->hidden(torch::tensor(tokens, torch::kLong), layout);
    const auto [logprobs, entropy] = model::Transformer(model)->logprobs(
        hidden.index_select(0, torch::tensor(rows, torch::kLong)), torch::tensor(targets, torch::kLong), 1 / 0.8);
    EXPECT_TRUE(torch::equal(logprobs, torch::tensor(recorded)));
  }
}

INSTANTIATE_TEST_SUITE_P(DenseAndMixture, EngineLogprobs, ::testing::Bool());

TEST(Engine, StopsAtEosAtAStopTextAndAtTheLimit) {
  const auto model = small_model();
  Engine engine(model, tokenizer(), {});
  auto rule = sampling(50);
  rule.stop = {"a", "=3"};
  bool saw_stop = false, saw_eos = false;
  for (const auto& group : engine.sample(prompts(kTexts), 20, rule, {1, 1, 1})) {
    for (const auto& c : group.completions) {
      const auto text = tokenizer().decode(c.tokens, {.skip_special = true});
      const bool has_stop = text.find('a') != std::string::npos || text.find("=3") != std::string::npos;
      const bool has_eos = c.tokens.back() == tokenizer().eos_ids()[0];
      EXPECT_EQ(has_stop, c.finish == Finish::kStopText) << text;
      EXPECT_EQ(has_eos, c.finish == Finish::kEos) << text;
      if (has_stop) {
        EXPECT_TRUE(text.ends_with("a") || text.ends_with("=3")) << text;
      }
      if (c.finish == Finish::kLength) {
        EXPECT_EQ(50u, c.tokens.size());
      }
      EXPECT_EQ(c.tokens.size(), c.rollout_logprobs.size());
      saw_stop |= has_stop;
      saw_eos |= has_eos;
    }
  }
  EXPECT_TRUE(saw_stop && saw_eos);
}

TEST(Engine, EndsAtTheContext) {
  const auto model = small_model(20);
  Engine engine(model, tokenizer(), {});
  auto rule = sampling(50);
  rule.stop_at_eos = false;
  const auto groups = engine.sample(prompts({"0123456789"}), 2, rule, {1, 1, 1});
  EXPECT_EQ(10u, groups[0].completions[0].tokens.size());
  EXPECT_EQ(Finish::kLength, groups[0].completions[0].finish);
}

TEST(Engine, RefusesWhatCannotRun) {
  const auto model = small_model(20);
  Engine engine(model, tokenizer(), {});
  EXPECT_THROW(engine.sample({Prompt{}}, 1, sampling(5), {}), Error);
  EXPECT_THROW(engine.sample(prompts({"01234567890123456789"}), 1, sampling(5), {}), Error);
  Engine tiny(model, tokenizer(), {.kv_cache_bytes = 100});
  EXPECT_THROW(tiny.sample(prompts({"1"}), 1, sampling(5), {}), Error);
}

TEST(Engine, OtherSeedsStepsAndStagesDrawOtherTexts) {
  const auto model = small_model();
  Engine engine(model, tokenizer(), {});
  const auto text = [&](const DrawOrigin& origin) {
    return tokenizer().decode(engine.sample(prompts({"12+7="}), 1, sampling(30), origin)[0].completions[0].tokens);
  };
  EXPECT_EQ(text({1, 1, 1}), text({1, 1, 1}));
  EXPECT_NE(text({1, 1, 1}), text({2, 1, 1}));
  EXPECT_NE(text({1, 1, 1}), text({1, 2, 1}));
  EXPECT_NE(text({1, 1, 1}), text({1, 1, 2}));
}

// By hand: a prompt of 5 tokens is computed once; each of two completions of 4 tokens then computes 3 (its first token comes
// from the prompt's logits, its last is never fed back) at contexts 6, 7 and 8.
TEST(Engine, CountsWhatItComputes) {
  Engine engine(small_model(), tokenizer(), {});
  auto rule = sampling(4);
  rule.stop_at_eos = false;
  for (int round = 1; round <= 2; ++round) {
    engine.sample(prompts({"12+7="}), 2, rule, {1, 1, 1});
    const auto& stats = engine.stats();
    EXPECT_EQ(stats.prompt_tokens, 5 * round);
    EXPECT_EQ(stats.generated_tokens, 8 * round);
    EXPECT_EQ(stats.computed.tokens, (5 + 6) * round);
    EXPECT_EQ(stats.computed.logit_rows, (1 + 6) * round);
    EXPECT_EQ(stats.computed.attended, (15 + 2 * (6 + 7 + 8)) * round);
  }
}

}  // namespace
}  // namespace r1::rollout
