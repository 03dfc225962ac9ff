#include "stage_graph.h"

#include <algorithm>

namespace r1::report {
namespace {

bool names_a_stage(const std::vector<StageRecord>& stages, const std::string& name) {
  return std::any_of(stages.begin(), stages.end(),
                     [&](const StageRecord& stage) { return stage.name == name; });
}

int64_t planned_steps(const ConfigNode& section, const std::string& kind) {
  int64_t steps = 0;
  section.read("steps", steps);
  if (kind != "rejection_sample") return steps;
  int64_t prompts = 1000, per_step = 64;  // the defaults of docs/configs.md
  section.read("prompts", prompts);
  section.read("prompts_per_step", per_step);
  return per_step > 0 ? (prompts + per_step - 1) / per_step : 0;
}

}  // namespace

bool makes_weights(const std::string& kind) {
  return kind == "pretrain" || kind == "sft" || kind == "distill" || kind == "grpo";
}

std::vector<StageRecord> read_stage_graph(const ConfigNode& config) {
  std::vector<StageRecord> stages;
  std::string last_weights = "base";
  for (const auto& section : config.children("pipeline")) {
    StageRecord stage;
    std::string from = last_weights;
    section.read("name", stage.name);
    section.read("kind", stage.kind);
    section.read("from", from);
    stage.steps_total = planned_steps(section, stage.kind);
    stage.inputs.push_back({from, "from"});
    const auto weights = section.child("reward_weights");
    for (const auto& part : weights.keys()) weights.read(part, stage.reward_weights[part]);
    const auto preference =
        section.child("preference");  // a reward model's score is a part under its stage's name
    if (std::string scorer; preference.has("stage")) {
      preference.read("stage", scorer);
      preference.read("weight", stage.reward_weights.try_emplace(scorer, 1).first->second);
    }
    for (const auto& [key, value] : section.leaves()) {
      const auto last = key.substr(key.rfind('.') == std::string::npos ? 0 : key.rfind('.') + 1);
      if (last == "name" || last == "kind" || key == "from" || !names_a_stage(stages, value)) continue;
      stage.inputs.push_back({value, key});
    }
    if (makes_weights(stage.kind)) last_weights = stage.name;
    stages.push_back(std::move(stage));
  }
  return stages;
}

std::vector<RewardPart> read_reward_parts(const ConfigNode& config) {
  std::vector<RewardPart> parts;
  const auto section = config.child("reward").child("parts");
  for (const auto& name : section.keys()) {
    RewardPart part{name, "", 1};
    const auto node = section.child(name);
    node.read("kind", part.kind);
    node.read("weight", part.weight);
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace r1::report
