#include "r1/train/scored_group.h"

#include "r1/reward/scoring_pool.h"
#include "r1/util/progress.h"
#include "tokens.h"

namespace r1::train {

std::vector<ScoredGroup> sample_and_score(rollout::Engine& engine, const Tokenizer& tokenizer, const Reward& reward,
                                          std::vector<Problem> problems, int64_t first_index, int64_t group_size,
                                          const rollout::SamplingConfig& sampling, const rollout::DrawOrigin& origin,
                                          ScoringSeconds& seconds, const std::function<void(int64_t, int64_t)>& progress) {
  const double start_s = monotonic_s();
  std::vector<rollout::Prompt> prompts;
  for (size_t i = 0; i < problems.size(); ++i) {
    prompts.push_back({prompt_tokens(tokenizer, problems[i].prompt), static_cast<uint32_t>(first_index + static_cast<int64_t>(i))});
  }
  const auto G = static_cast<size_t>(group_size);
  ScoringPool pool(reward, reward.config().num_workers());
  std::vector<std::vector<std::string>> texts(problems.size(), std::vector<std::string>(G));
  auto groups = engine.sample(prompts, group_size, sampling, origin, progress, [&](size_t i, size_t sample, const rollout::Completion& completion) {
    texts[i][sample] = tokenizer.decode(completion.tokens, {.skip_special = true});
    pool.submit(i * G + sample, {problems[i].prompt, texts[i][sample], problems[i].answer, problems[i].extra});
  });
  const double sampled_s = monotonic_s();
  const auto scores = pool.finish();
  std::vector<ScoredGroup> out;
  for (size_t i = 0; i < problems.size(); ++i) {
    const auto first = scores.begin() + static_cast<int64_t>(i * G);
    out.push_back({std::move(problems[i]), std::move(groups[i]), {first, first + group_size}, std::move(texts[i])});
  }
  seconds.rollout += sampled_s - start_s;
  seconds.reward += monotonic_s() - sampled_s;
  return out;
}

}  // namespace r1::train
