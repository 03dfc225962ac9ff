#include "r1/pipeline/plan_config.h"

#include "r1/util/strings.h"

namespace r1::pipeline {

PlanConfig PlanConfig::parse(ConfigNode node) {
  PlanConfig c;
  node.read("hardware", c.hardware);
  node.read("devices", c.devices, at_least<int64_t>(1));
  node.read("devices_per_replica", c.devices_per_replica, between<int64_t>(0, c.devices), "It is a part of plan.devices; 0 finds the fewest.");
  if (c.devices_per_replica > 0 && c.devices % c.devices_per_replica != 0) {
    node.reject("devices_per_replica", "a divisor of plan.devices", "Every device belongs to one replica.");
  }
  node.reject_unknown_keys();
  return c;
}

StageAssumptions StageAssumptions::parse(ConfigNode node) {
  StageAssumptions a;
  for (const auto& [key, value] : {std::pair{"prompt_tokens", &a.prompt_tokens}, {"completion_tokens", &a.completion_tokens},
                                   {"longest_tokens", &a.longest_tokens}, {"text_tokens", &a.text_tokens}, {"texts", &a.texts},
                                   {"published_hours", &a.published_hours}}) {
    node.read(key, *value, at_least(0.0), "It only serves the plan.");
  }
  node.read("tokens_per_decode_step", a.tokens_per_decode_step, at_least(1.0), "1: every decoding step gives a sequence one token.");
  node.read("pipeline", a.pipeline, at_least<int64_t>(0), "0: the simulation chooses.");
  node.read("expert", a.expert, at_least<int64_t>(0), "0: the simulation chooses.");
  node.read("curve_steps", a.curve_steps);
  node.read("curve_tokens", a.curve_tokens);
  if (a.curve_steps.size() != a.curve_tokens.size()) node.reject("curve_tokens", cat(a.curve_steps.size(), " numbers, as many as curve_steps has"), "One mean per step.");
  for (size_t i = 0; i < a.curve_steps.size(); ++i) {
    if (i > 0 && a.curve_steps[i] < a.curve_steps[i - 1]) node.reject("curve_steps", "steps in rising order", "Lines are drawn from one to the next.");
    if (a.curve_tokens[i] <= 0) node.reject("curve_tokens", "numbers above 0", "They are means of completions, in tokens.");
  }
  node.reject_unknown_keys();
  return a;
}

}  // namespace r1::pipeline
