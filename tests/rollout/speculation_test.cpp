#include "r1/rollout/speculation.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>
#include <map>

#include "r1/rollout/engine.h"
#include "trained_model.h"

namespace r1::rollout {
namespace {

using test::digits_tokenizer;

model::Transformer& model_of(bool mixture) {
  static model::Transformer dense = test::trained_model(false), experts = test::trained_model(true);
  return mixture ? experts : dense;
}

// Prompts of 1, 2, 15, 16, 17 and 32 tokens: around the pages' 16.
std::vector<Prompt> prompts() {
  std::vector<Prompt> out;
  for (const int64_t length : {1, 2, 15, 16, 17, 32}) {
    const auto text = test::digits_text(900 + static_cast<uint32_t>(length), length);
    out.push_back({{text.begin(), text.end()}, static_cast<uint32_t>(out.size())});
  }
  return out;
}

SamplingConfig sampling(int64_t tokens, const ops::SamplingRule& rule = {}) {
  SamplingConfig s;
  s.max_completion_tokens = tokens;
  s.rule = rule;
  return s;
}

void expect_equal(const std::vector<RolloutGroup>& a, const std::vector<RolloutGroup>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t p = 0; p < a.size(); ++p) {
    EXPECT_EQ(a[p].prompt_routes, b[p].prompt_routes) << what;
    for (size_t g = 0; g < a[p].completions.size(); ++g) {
      const auto &x = a[p].completions[g], &y = b[p].completions[g];
      ASSERT_EQ(x.tokens, y.tokens) << what << " " << p << "," << g;
      EXPECT_EQ(x.rollout_logprobs, y.rollout_logprobs) << what << " " << p << "," << g;
      EXPECT_EQ(x.routes, y.routes) << what << " " << p << "," << g;
      EXPECT_EQ(x.finish, y.finish) << what << " " << p << "," << g;
    }
  }
}

class Speculative : public ::testing::TestWithParam<bool> {};

TEST_P(Speculative, TextsLogprobsAndRoutesAreThoseWithoutDraftsBitForBit) {
  auto& model = model_of(GetParam());
  const DrawOrigin origin{5, 1, 9};
  auto stops = sampling(40);
  stops.stop = {"45", "7"};
  auto endless = sampling(1000);
  endless.stop_at_eos = false;
  const std::vector<std::pair<std::string, SamplingConfig>> cases{
      {"plain", sampling(40)},           {"cold", sampling(40, {.temperature = 0.6})},
      {"greedy", sampling(40, {.temperature = 0})},  {"top_k", sampling(40, {.top_k = 3})},
      {"top_p", sampling(40, {.top_p = 0.9})},   {"min_p", sampling(40, {.temperature = 1.3, .min_p = 0.1})},
      {"stop texts", stops},             {"one token", sampling(1)},
      {"two tokens", sampling(2)},       {"to the context's end", endless}};
  for (const auto& [name, config] : cases) {
    Engine plain(model, digits_tokenizer(), {.speculation = Speculation::kOff});
    plain.record_routes = GetParam();
    const auto expected = plain.sample(prompts(), 6, config, origin);
    EXPECT_EQ(0, plain.stats().speculation.drafted);
    for (const auto& [batch, mode] : {std::pair{64, Speculation::kAlways}, {3, Speculation::kAlways}, {7, Speculation::kAuto}}) {
      Engine engine(model, digits_tokenizer(), {.max_batch = batch, .prefill_tokens = 20, .speculation = mode});
      engine.record_routes = GetParam();
      expect_equal(expected, engine.sample(prompts(), 6, config, origin), name);
      const auto& s = engine.stats();
      EXPECT_EQ(plain.stats().generated_tokens, s.generated_tokens) << name;
      if (mode == Speculation::kAlways && config.max_completion_tokens > 2) {
        EXPECT_GT(s.speculation.accepted, s.speculation.drafted / 3) << name;
        EXPECT_EQ(s.speculation.passes, s.decode_steps);
        EXPECT_EQ(s.speculation.tokens + 36, s.generated_tokens);  // each first token is the prefill's
      }
      if (config.max_completion_tokens <= 2) {
        EXPECT_EQ(0, s.speculation.drafted);  // nothing comes after the next token
      }
    }
  }
}

// Of the drafts that greedy sampling of one sequence after the other makes when `decide` tells its passes to: how many there are and how
// many are right, by the packed form of the module.
std::pair<int64_t, int64_t> expected_drafts(model::Transformer& model, const std::vector<RolloutGroup>& groups, int64_t limit,
                                            const std::function<bool(int64_t)>& decide) {
  const torch::NoGradGuard no_grad;
  int64_t drafted = 0, accepted = 0;
  for (const auto& group : groups) {
    for (const auto& c : group.completions) {
      std::vector<int64_t> ids(group.prompt.tokens.begin(), group.prompt.tokens.end());
      ids.insert(ids.end(), c.tokens.begin(), c.tokens.end());
      ops::PackedLayout layout;
      layout.add_sequence(static_cast<int64_t>(ids.size()));
      layout.finish();
      const auto ids_N = torch::tensor(ids, torch::kLong);
      const auto module = model->mtp_hidden(ids_N, model->hidden(ids_N, layout), model::MtpLayout(layout), model::MtpGradient::kModuleAlone);
      const auto proposed = model->mtp_logits(module).argmax(1);  // [i]: of token i + 2
      const auto P = static_cast<int64_t>(group.prompt.tokens.size()), size = static_cast<int64_t>(c.tokens.size());
      for (int64_t done = 1; done < size;) {
        const bool drafts = decide(1) && done + 1 < limit;
        const bool right = drafts && proposed[P + done - 2].item<int64_t>() == ids[static_cast<size_t>(P + done)];
        drafted += drafts ? 1 : 0;
        accepted += right ? 1 : 0;
        done += right ? 2 : 1;
      }
    }
  }
  return {drafted, accepted};
}

// Texts say nothing of the drafts' quality: these must be the very ones of the packed form, also where the module has to catch up.
TEST_P(Speculative, DraftsAreThoseOfThePackedForm) {
  auto& model = model_of(GetParam());
  for (const bool changing : {false, true}) {
    uint32_t pass = 0;
    const auto decide = [&](int64_t) {
      return !changing || draw_below({.seed = 1, .stream = Stream::kTest, .position = pass++}, 5) < 2;
    };
    Engine engine(model, digits_tokenizer(), {.max_batch = 1});
    engine.decide_drafting = decide;
    auto config = sampling(40, {.temperature = 0});
    config.stop_at_eos = false;
    const auto groups = engine.sample(prompts(), 2, config, {});
    pass = 0;
    const auto [drafted, accepted] = expected_drafts(model, groups, 40, decide);
    EXPECT_EQ(drafted, engine.stats().speculation.drafted);
    EXPECT_EQ(accepted, engine.stats().speculation.accepted);
    EXPECT_GT(accepted, 40);
    Engine wide(model, digits_tokenizer(), {.speculation = Speculation::kAlways});
    expect_equal(groups, wide.sample(prompts(), 2, config, {}), "wide");
    if (!changing) {
      EXPECT_EQ(drafted, wide.stats().speculation.drafted);
      EXPECT_EQ(accepted, wide.stats().speculation.accepted);
    }
  }
}

// Completions of one prompt with different first tokens, side by side and one after the other.
TEST_P(Speculative, ADraftDoesNotDependOnTheOtherSequences) {
  auto& model = model_of(GetParam());
  std::vector<SpeculationStats> stats;
  for (const int64_t batch : {1, 64}) {
    Engine engine(model, digits_tokenizer(), {.max_batch = batch, .speculation = Speculation::kAlways});
    auto config = sampling(20, {.temperature = 1.5});
    config.stop_at_eos = false;
    engine.sample(prompts(), 8, config, {2, 0, 0});
    stats.push_back(engine.stats().speculation);
  }
  EXPECT_EQ(stats[0].drafted, stats[1].drafted);
  EXPECT_EQ(stats[0].accepted, stats[1].accepted);
  EXPECT_GT(stats[0].accepted, 100);
}

// A policy that changes its mind at will.
TEST_P(Speculative, TheDecisionCanChangeAtAnyPass) {
  auto& model = model_of(GetParam());
  const DrawOrigin origin{5, 1, 9};
  Engine plain(model, digits_tokenizer(), {.speculation = Speculation::kOff});
  const auto expected = plain.sample(prompts(), 6, sampling(60), origin);
  Engine engine(model, digits_tokenizer(), {.max_batch = 7});
  uint32_t pass = 0;
  engine.decide_drafting = [&](int64_t) { return draw_below({.seed = 1, .stream = Stream::kTest, .position = pass++}, 5) < 2; };
  expect_equal(expected, engine.sample(prompts(), 6, sampling(60), origin), "changing");
  const auto& s = engine.stats().speculation;
  EXPECT_GT(s.passes, 5);
  EXPECT_LT(s.passes, engine.stats().decode_steps / 2 + 10);
}

TEST_P(Speculative, ASmallCacheOnlyTakesLonger) {
  auto& model = model_of(GetParam());
  Engine plain(model, digits_tokenizer(), {.speculation = Speculation::kOff});
  const auto expected = plain.sample(prompts(), 6, sampling(60), {5, 1, 9});
  Engine small(model, digits_tokenizer(), {.kv_cache_bytes = 9 * model::KvCache::bytes_per_page(model->config(), true), .speculation = Speculation::kAlways});
  expect_equal(expected, small.sample(prompts(), 6, sampling(60), {5, 1, 9}), "small cache");
}

INSTANTIATE_TEST_SUITE_P(DenseAndMixture, Speculative, ::testing::Bool());

TEST(Speculative, WithoutAModuleNothingIsDrafted) {
  model::Transformer trunk(test::digits_config(false).trunk());
  trunk->copy_from(*model_of(false));
  Engine plain(trunk, digits_tokenizer(), {.speculation = Speculation::kAlways});
  Engine with(model_of(false), digits_tokenizer(), {.speculation = Speculation::kAlways});
  expect_equal(plain.sample(prompts(), 3, sampling(30), {}), with.sample(prompts(), 3, sampling(30), {}), "trunk alone");
  EXPECT_EQ(0, plain.stats().speculation.drafted);
  EXPECT_TRUE(plain.stats().speculation.figures().empty());
}

double chi_square_p(double statistic, double freedom) {
  return torch::special::gammaincc(torch::tensor(freedom / 2, torch::kDouble), torch::tensor(statistic / 2, torch::kDouble)).item<double>();
}

// 100,000 tokens drawn with drafts, against the exact probabilities and against as many drawn without from other uniforms. A
// completion's three tokens are one outcome, so that outcomes are independent; rare ones are pooled.
TEST(Speculative, ChiSquareAgainstTheModelAndAgainstPlainSampling) {
  auto& model = model_of(false);
  constexpr int64_t kCompletions = 33'334, kTokens = 3;
  auto config = sampling(kTokens, {.temperature = 0.9});
  config.stop_at_eos = false;
  const auto text = test::digits_text(5, 6);
  const Prompt prompt{{text.begin(), text.end()}, 0};
  using Outcome = std::vector<int32_t>;
  const auto count = [&](Speculation mode, uint64_t seed) {
    Engine engine(model, digits_tokenizer(), {.max_batch = 512, .speculation = mode});
    std::map<Outcome, double> counts;
    const auto groups = engine.sample({prompt}, kCompletions, config, {seed, 0, 0});
    for (const auto& c : groups[0].completions) counts[c.tokens] += 1;
    if (mode == Speculation::kAlways) {
      const auto& s = engine.stats().speculation;
      std::printf("[          ] %lld tokens, %lld drafted, %.1f %% of them accepted\n", static_cast<long long>(kTokens * kCompletions),
                  static_cast<long long>(s.drafted), 100.0 * static_cast<double>(s.accepted) / static_cast<double>(s.drafted));
      EXPECT_EQ(kCompletions, s.drafted);
    }
    return counts;
  };
  const auto drafted = count(Speculation::kAlways, 21), plain = count(Speculation::kOff, 22);

  // Exact probabilities of all V^3 outcomes by the trunk.
  const torch::NoGradGuard no_grad;
  const int64_t V = model->config().vocab_size;
  const auto next = [&](const std::vector<int64_t>& ids) {
    ops::PackedLayout layout;
    layout.add_sequence(static_cast<int64_t>(ids.size()));
    layout.finish();
    const auto hidden = model->hidden(torch::tensor(ids, torch::kLong), layout);
    return (model->logits(hidden.narrow(0, hidden.size(0) - 1, 1))[0].to(torch::kDouble) / 0.9).softmax(0);
  };
  double fit = 0, pooled_expected = 0, pooled_seen = 0, two_sample = 0, rest_a = 0, rest_b = 0;
  int64_t fit_bins = 0, two_bins = 0;
  const auto p0 = next(text);
  for (int64_t a = 0; a < V; ++a) {
    auto ids = text;
    ids.push_back(a);
    const auto p1 = next(ids);
    for (int64_t b = 0; b < V; ++b) {
      ids.push_back(b);
      const auto p2 = next(ids);
      ids.pop_back();
      for (int64_t c = 0; c < V; ++c) {
        const double expected = kCompletions * p0[a].item<double>() * p1[b].item<double>() * p2[c].item<double>();
        const Outcome outcome{static_cast<int32_t>(a), static_cast<int32_t>(b), static_cast<int32_t>(c)};
        const auto in = [&](const auto& counts) { return counts.count(outcome) ? counts.at(outcome) : 0.0; };
        const double x = in(drafted), y = in(plain);
        if (expected < 5) {
          pooled_expected += expected;
          pooled_seen += x;
          rest_a += x;
          rest_b += y;
          continue;
        }
        fit += (x - expected) * (x - expected) / expected;
        two_sample += (x - y) * (x - y) / std::max(1.0, x + y);
        ++fit_bins;
        ++two_bins;
      }
    }
  }
  fit += (pooled_seen - pooled_expected) * (pooled_seen - pooled_expected) / pooled_expected;
  two_sample += (rest_a - rest_b) * (rest_a - rest_b) / (rest_a + rest_b);
  const double p_fit = chi_square_p(fit, static_cast<double>(fit_bins)), p_two = chi_square_p(two_sample, static_cast<double>(two_bins));
  std::printf("[          ] against the model: chi-square %.1f, %lld degrees of freedom, p = %.3f; against plain sampling: %.1f, p = %.3f\n", fit,
              static_cast<long long>(fit_bins), p_fit, two_sample, p_two);
  EXPECT_GT(fit_bins, 100);
  EXPECT_GT(p_fit, 0.01);
  EXPECT_GT(p_two, 0.01);
}

// How often four ways to draft would be accepted, over the tokens of sampled texts. Printed for docs/speculation.md.
TEST(Speculative, TheSharedUniformIsAcceptedNearlyAsOftenAsTheRatioTest) {
  auto& model = model_of(false);
  const torch::NoGradGuard no_grad;
  for (const double temperature : {1.0, 0.6}) {
    double shared = 0, ratio = 0, best = 0, independent = 0, rows = 0;
    Engine engine(model, digits_tokenizer(), {.speculation = Speculation::kOff});
    auto config = sampling(60, {.temperature = temperature});
    config.stop_at_eos = false;
    for (const auto& group : engine.sample(prompts(), 8, config, {3, 0, 0})) {
      for (const auto& c : group.completions) {
        std::vector<int64_t> ids(group.prompt.tokens.begin(), group.prompt.tokens.end());
        ids.insert(ids.end(), c.tokens.begin(), c.tokens.end());
        ops::PackedLayout layout;
        layout.add_sequence(static_cast<int64_t>(ids.size()));
        layout.finish();
        const auto ids_N = torch::tensor(ids, torch::kLong);
        const auto hidden = model->hidden(ids_N, layout);
        const auto softmax = [&](const torch::Tensor& logits) { return (logits.to(torch::kDouble) / temperature).softmax(-1); };
        const auto first = static_cast<int64_t>(group.prompt.tokens.size());
        const auto p = softmax(model->logits(hidden)).slice(0, first, -1);
        const auto q = softmax(model->mtp_logits(model->mtp_hidden(ids_N, hidden, model::MtpLayout(layout), model::MtpGradient::kModuleAlone)))
                           .slice(0, first - 1, -1);
        ASSERT_EQ(p.sizes(), q.sizes());
        const auto P = p.cumsum(1), Q = q.cumsum(1);
        shared += (torch::minimum(P, Q) - torch::maximum(P - p, Q - q)).clamp_min(0).sum().item<double>();
        ratio += torch::minimum(p, q).sum().item<double>();
        best += p.gather(1, q.argmax(1, true)).sum().item<double>();
        independent += (p * q).sum().item<double>();
        rows += static_cast<double>(p.size(0));
      }
    }
    std::printf("[          ] T = %.1f: accepted by the shared uniform %.3f, by min(1, p/q) %.3f, of the likeliest token %.3f, of an independent draw %.3f\n",
                temperature, shared / rows, ratio / rows, best / rows, independent / rows);
    EXPECT_GT(shared, 0.9 * ratio);
    EXPECT_GT(shared, independent);
    EXPECT_LE(shared, ratio + 1e-9);
  }
}

// A machine of our own: passes take a + b rows, the module adds a share.
double plain_seconds(int64_t sequences) { return 1.0 + 0.05 * static_cast<double>(sequences); }

TEST(SpeculationPolicy, DraftsWhereThatGivesMoreTokensPerSecond) {
  SpeculationPolicy policy(Speculation::kAuto);
  SpeculationStats stats;
  std::map<int64_t, double> drafting;
  for (int i = 0; i < 400; ++i) {
    for (const int64_t sequences : {1, 4, 16, 64, 200}) {
      const bool drafts = policy.choose(sequences, 0);
      drafting[sequences] += drafts ? 1 : 0;
      const auto tokens = static_cast<int64_t>(std::lround(static_cast<double>(sequences) * (drafts ? 1.5 : 1.0)));
      policy.record(sequences, drafts, 0, tokens, drafts ? plain_seconds(2 * sequences) + 0.2 : plain_seconds(sequences), stats);
    }
  }
  EXPECT_GT(drafting[1], 380);  // 1.3 s for 1.5 tokens against 1.05 s for 1 ... rounded to 2 tokens a sequence
  EXPECT_GT(drafting[4], 380);
  EXPECT_LT(drafting[64], 40);
  EXPECT_LT(drafting[200], 40);
  EXPECT_GT(stats.plain_seconds, stats.seconds);  // it has saved time
}

TEST(SpeculationPolicy, TriesTheLoserAgainAndFollowsAChange) {
  SpeculationPolicy policy(Speculation::kAuto);
  SpeculationStats stats;
  const auto run = [&](int passes, double accepted) {
    double drafted = 0;
    for (int i = 0; i < passes; ++i) {
      const bool drafts = policy.choose(10, 0);
      drafted += drafts ? 1 : 0;
      policy.record(10, drafts, 0, drafts ? static_cast<int64_t>(10 * (1 + accepted)) : 10, drafts ? 1.5 : 1.0, stats);
    }
    return drafted / passes;
  };
  EXPECT_LT(run(200, 0.1), 0.1);   // drafts of no use
  run(2000, 0.9);                  // the module has learned
  EXPECT_GT(run(200, 0.9), 0.9);
  run(20'000, 0.1);                // and forgotten
  EXPECT_LT(run(200, 0.1), 0.1);
}

// A rollout's tail in which drafting is better, behind a long part in which it was not: the module's rows of that part cost 4 s, and
// a pass without drafts loses 0.25 s against one with.
TEST(SpeculationPolicy, TheModuleCatchesUpWhenNotDraftingHasLostAsMuch) {
  SpeculationPolicy policy(Speculation::kAuto);
  SpeculationStats stats;
  const auto pass = [&](bool drafts, int64_t late) { policy.record(2, drafts, late, drafts ? 4 : 2, drafts ? 1.5 + 0.04 * static_cast<double>(late) : 1.0, stats); };
  for (int i = 0; i < 12; ++i) pass(policy.choose(2, 0), 0);  // both ways are known
  pass(true, 100);                                            // and the price of a late row
  int64_t waited = 0;
  while (!policy.choose(2, 100)) {
    pass(false, 100);
    ++waited;
  }
  EXPECT_EQ(15, waited);  // the 16th pass would lose the 4th second
  pass(true, 100);
  EXPECT_TRUE(policy.choose(2, 0));  // at no cost at once
}

TEST(SpeculationPolicy, FixedModesDecideNothing) {
  SpeculationPolicy always(Speculation::kAlways), off(Speculation::kOff);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(always.choose(i + 1, 100));
    EXPECT_FALSE(off.choose(i + 1, 0));
  }
}

}  // namespace
}  // namespace r1::rollout
