#include "r1/train/grpo_stage.h"
#include "r1/util/strings.h"

namespace r1::train {

GrpoStageConfig GrpoStageConfig::parse(ConfigNode node) {
  GrpoStageConfig c;
  c.update = UpdateConfig::parse(node);
  c.loss = algo::GrpoLossConfig::parse(node.child("loss"));
  c.advantage = algo::AdvantageConfig::parse(node.child("advantage"));
  c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  c.engine = rollout::EngineConfig::parse(node.child("rollout"));
  c.eval = EvalConfig::parse(node.child("eval"), c.sampling);
  node.require("steps", c.steps, at_least<int64_t>(1));
  node.read("prompts_per_step", c.prompts_per_step, at_least<int64_t>(1));
  node.read("group_size", c.group_size, at_least<int64_t>(2),
            "A group of one has zero advantage, so nothing would be learned. Try 8 or 16.");
  node.read("steps_per_rollout", c.steps_per_rollout, at_least<int64_t>(1));
  node.read("reference_every_steps", c.reference_every_steps, at_least<int64_t>(0));
  node.read("dynamic_sampling", c.dynamic_sampling);
  node.read("dynamic_sampling_rounds", c.dynamic_sampling_rounds, at_least<int64_t>(1));
  if (node.has("preference")) {
    const auto section = node.child("preference");
    auto& preference = c.preference.emplace();
    section.require("stage", preference.stage);
    section.read("weight", preference.weight, above(0.0));
    section.read("last_steps", preference.last_steps, between<int64_t>(0, c.steps));
  }
  node.read("share_prompts", c.share_prompts);
  node.read("log_rollouts", c.log_rollouts);
  if (c.steps % c.steps_per_rollout != 0) {
    const int64_t low = c.steps / c.steps_per_rollout * c.steps_per_rollout;
    node.reject("steps", cat("a multiple of steps_per_rollout, ", c.steps_per_rollout),
                cat("Each rollout serves ", c.steps_per_rollout, " updates. Try ", low > 0 ? cat(low, " or ") : std::string(),
                    low + c.steps_per_rollout, "."));
  }
  if (c.sampling.rule.cuts() || c.sampling.rule.temperature == 0) {
    node.child("sampling").reject(
        c.sampling.rule.temperature == 0 ? "temperature"
        : c.sampling.rule.top_k > 0      ? "top_k"
        : c.sampling.rule.top_p < 1      ? "top_p"
                                         : "min_p",
        "the whole distribution in training (temperature above 0, top_k 0, top_p 1, min_p 0)",
        "The trainer's ratios need the probabilities that were sampled from; eval.sampling may cut as it likes.");
  }
  if (c.loss.overlong.soft_penalty_tokens > c.sampling.max_completion_tokens) {
    node.child("loss").child("overlong").reject("soft_penalty_tokens",
                                                cat("at most sampling.max_completion_tokens, ", c.sampling.max_completion_tokens),
                                                "The penalty begins that many tokens before the limit.");
  }
  if (c.loss.constant_length == 0) c.loss.constant_length = c.sampling.max_completion_tokens;
  if (c.update.schedule.total_steps == 0) c.update.schedule.total_steps = c.steps;
  return c;
}

}  // namespace r1::train
