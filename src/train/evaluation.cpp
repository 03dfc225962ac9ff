#include "r1/train/evaluation.h"

#include <algorithm>

#include "tokens.h"

namespace r1::train {

EvalConfig EvalConfig::parse(ConfigNode node, const rollout::SamplingConfig& training) {
  EvalConfig c;
  node.read("every_steps", c.every_steps, at_least<int64_t>(0));
  node.read("problems", c.problems, at_least<int64_t>(1));
  node.read("problems_during", c.problems_during, at_least<int64_t>(1));
  if (node.has("sampling")) {
    c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  } else {
    c.sampling = training;
    c.sampling.rule = {.temperature = 0.0};
  }
  node.reject_unknown_keys();
  return c;
}

EvalResult evaluate(rollout::Engine& engine, const Tokenizer& tokenizer, const Reward& reward,
                    const std::vector<Problem>& problems, int64_t count, const rollout::SamplingConfig& sampling,
                    const rollout::DrawOrigin& origin) {
  const auto n = static_cast<size_t>(std::min<int64_t>(count, static_cast<int64_t>(problems.size())));
  std::vector<rollout::Prompt> prompts;
  for (size_t i = 0; i < n; ++i) prompts.push_back({prompt_tokens(tokenizer, problems[i].prompt), static_cast<uint32_t>(i)});
  const auto groups = engine.sample(prompts, 1, sampling, origin);
  EvalResult out;
  for (size_t i = 0; i < n; ++i) {
    const auto& completion = groups[i].completions[0];
    const auto score = reward.score({problems[i].prompt, tokenizer.decode(completion.tokens, {.skip_special = true}),
                                     problems[i].answer, problems[i].extra});
    if (score.verdict == Verdict::kGoldUnreadable) {
      ++out.gold_unreadable;
      continue;
    }
    ++out.problems;
    out.accuracy += score.verdict == Verdict::kRight ? 1 : 0;
    out.mean_tokens += static_cast<double>(completion.tokens.size());
    out.truncated += completion.finish == rollout::Finish::kLength ? 1 : 0;
    out.parts.resize(score.parts.size());
    for (size_t k = 0; k < score.parts.size(); ++k) {
      out.parts[k].first = score.parts[k].first;
      out.parts[k].second += score.parts[k].second;
    }
  }
  const double total = std::max<double>(1, static_cast<double>(out.problems));
  out.accuracy /= total;
  out.mean_tokens /= total;
  out.truncated /= total;
  for (auto& [name, value] : out.parts) value /= total;
  return out;
}

}  // namespace r1::train
