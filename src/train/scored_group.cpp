#include "r1/train/scored_group.h"

#include <algorithm>
#include <numeric>

#include "group_bytes.h"
#include "r1/reward/scoring_pool.h"
#include "r1/util/progress.h"
#include "tokens.h"

namespace r1::train {
namespace {

// Gives out the prompts that this rank samples, and keeps their places.
rollout::PromptSupply supply_for(const Sharing& sharing, size_t num_prompts, int64_t group_size, std::vector<size_t>& taken) {
  auto& ranks = *sharing.ranks;
  const auto R = static_cast<int64_t>(ranks.size()), P = static_cast<int64_t>(num_prompts);
  rollout::PromptSupply supply;
  supply.max_sequences = std::max<int64_t>(1, (P * group_size + R - 1) / R);
  if (sharing.numerics == Numerics::kExact) {
    supply.next = [&ranks, &taken, P, round = ranks.next_round()]() -> std::optional<size_t> {
      const auto piece = ranks.take(round, P, 1);
      if (piece.begin == piece.end) return std::nullopt;
      return taken.emplace_back(static_cast<size_t>(piece.begin));
    };
  } else {
    supply.next = [&taken, P, R, next = static_cast<int64_t>(ranks.rank())]() mutable -> std::optional<size_t> {
      if (next >= P) return std::nullopt;
      taken.push_back(static_cast<size_t>(next));
      next += R;
      return taken.back();
    };
  }
  return supply;
}

}  // namespace

std::vector<ScoredGroup> sample_and_score(const Sampler& sampler, std::vector<Problem> problems, int64_t first_index, int64_t group_size,
                                          const rollout::SamplingConfig& sampling, const rollout::DrawOrigin& origin,
                                          const std::function<void(int64_t, int64_t)>& progress) {
  const double start_s = monotonic_s();
  auto& ranks = *sampler.sharing.ranks;
  ranks.set_phase("rollout");
  std::vector<rollout::Prompt> prompts;
  for (size_t i = 0; i < problems.size(); ++i) {
    prompts.push_back({prompt_tokens(sampler.tokenizer, problems[i].prompt), static_cast<uint32_t>(first_index + static_cast<int64_t>(i))});
  }
  const auto G = static_cast<size_t>(group_size);
  std::vector<size_t> taken;  // places of this rank's problems
  rollout::PromptSupply supply;
  if (!ranks.alone()) supply = supply_for(sampler.sharing, problems.size(), group_size, taken);
  ScoringPool pool(sampler.reward, sampler.reward.config().num_workers());
  std::vector<std::vector<std::string>> texts(problems.size(), std::vector<std::string>(G));
  const auto score = [&](size_t i, size_t sample, const rollout::Completion& completion) {
    texts[i][sample] = sampler.tokenizer.decode(completion.tokens, {.skip_special = true});
    pool.submit(i * G + sample, {problems[i].prompt, texts[i][sample], problems[i].answer, problems[i].extra});
  };
  std::vector<ScoredGroup> own;
  ranks.together("rollout", [&] {
    auto groups = sampler.engine.sample(prompts, group_size, sampling, origin, progress, score, supply);
    const double sampled_s = monotonic_s();
    sampler.seconds.rollout += sampled_s - start_s;
    ranks.set_phase("reward");
    if (ranks.alone()) {
      taken.resize(problems.size());
      std::iota(taken.begin(), taken.end(), size_t{0});
    }
    const auto scores = pool.finish();  // by place, of this rank's alone
    for (const size_t i : taken) {
      const auto first = scores.begin() + static_cast<int64_t>(i * G);
      own.push_back({problems[i], std::move(groups[i]), {first, first + group_size}, std::move(texts[i])});
    }
    if (sampler.finish) sampler.finish(own);
    sampler.seconds.reward += monotonic_s() - sampled_s;
    ranks.set_phase("exchange of completions");
  });
  if (ranks.alone()) return own;
  std::vector<ScoredGroup> all;
  for (size_t i = 0; i < problems.size(); ++i) all.push_back({std::move(problems[i]), {std::move(prompts[i]), {}, {}}, {}, {}});
  for (const auto& bytes : ranks.all_gather_bytes(to_bytes(taken, own), "completions")) from_bytes(bytes, all);
  return all;
}

}  // namespace r1::train
