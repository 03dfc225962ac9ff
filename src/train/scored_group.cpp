#include "r1/train/scored_group.h"

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
  auto groups = engine.sample(prompts, group_size, sampling, origin, progress);
  const double sampled_s = monotonic_s();
  std::vector<ScoredGroup> out;
  for (size_t i = 0; i < problems.size(); ++i) {
    ScoredGroup scored{std::move(problems[i]), std::move(groups[i]), {}, {}};
    for (const auto& completion : scored.group.completions) {
      auto text = tokenizer.decode(completion.tokens, {.skip_special = true});
      scored.scores.push_back(reward.score({scored.problem.prompt, text, scored.problem.answer, scored.problem.extra}));
      scored.texts.push_back(std::move(text));
    }
    out.push_back(std::move(scored));
  }
  seconds.rollout += sampled_s - start_s;
  seconds.reward += monotonic_s() - sampled_s;
  return out;
}

}  // namespace r1::train
