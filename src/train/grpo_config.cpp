#include "r1/train/grpo_stage.h"
#include "r1/util/strings.h"

namespace r1::train {

LongerConfig LongerConfig::parse(ConfigNode node, const rollout::SamplingConfig& sampling) {
  LongerConfig c;
  if (node.keys().empty()) return c;
  node.require("after_step", c.after_step, at_least<int64_t>(1), "It counts updates of this stage.");
  node.require("max_completion_tokens", c.max_completion_tokens, above<int64_t>(sampling.max_completion_tokens),
               "It takes the place of sampling.max_completion_tokens, which holds before.");
  node.reject_unknown_keys();
  return c;
}

rollout::SamplingConfig GrpoStageConfig::sampling_after(int64_t step) const {
  auto out = sampling;
  if (longer.after_step > 0 && step >= longer.after_step) out.max_completion_tokens = longer.max_completion_tokens;
  return out;
}

GrpoStageConfig GrpoStageConfig::parse(ConfigNode node) {
  GrpoStageConfig c;
  c.update = UpdateConfig::parse(node);
  // The biases stay as pre-training left them: a bias that moves between sampling and the update changes routes.
  c.update.experts = ExpertConfig::parse(node.child("experts"), {.bias_rate = 0, .balance_loss = 0});
  c.loss = algo::GrpoLossConfig::parse(node.child("loss"));
  c.advantage = algo::AdvantageConfig::parse(node.child("advantage"));
  c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  c.mtp = MtpConfig::parse(node.child("mtp"), c.mtp.loss_weight, true);
  c.longer = LongerConfig::parse(node.child("longer"), c.sampling);
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
