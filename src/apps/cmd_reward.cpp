// r1 reward: completions and gold answers in, verdicts and rewards by part out, as JSON lines.
#include "r1/reward/reward.h"

#include <chrono>
#include <cmath>
#include <map>
#include <memory>

#include "command_line.h"
#include "commands.h"
#include "json_lines.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::apps {
namespace {

const std::map<std::string, const char*>& kinds() {
  static const std::map<std::string, const char*> kinds = {
      {"exact_answer", "{kind: exact_answer, extract: \"answer_tag, boxed, hashes, last_number\"}"},
      {"maths", "{kind: exact_answer, extract: \"answer_tag, boxed\", compare: maths}"},
      {"format", "{kind: format}"},
      {"countdown", "{kind: countdown, extract: \"answer_tag, boxed\"}"},
      {"code", "{kind: code}"},
      {"language", "{kind: language, of: completion}"},
      {"repetition", "{kind: repetition}"}};
  return kinds;
}

Reward reward_of_kind(const std::string& kind) {
  return Reward(RewardConfig::parse(ConfigNode::parse_text(cat("parts:\n  ", kind, ": ", kinds().at(kind)), "--kind")));
}

std::vector<std::string> names_of_kinds() {
  std::vector<std::string> names;
  for (const auto& [name, part] : kinds()) names.push_back(name);
  return names;
}

std::string text_of(const nlohmann::json& object, const char* name, bool required) {
  if (!object.contains(name)) {
    if (!required) return "";
    throw Error(cat("\"", name, "\" is missing; accepted: {\"gold\": \"...\", \"completion\": \"...\", \"kind\": \"exact_answer\"}"));
  }
  if (!object[name].is_string()) throw Error(cat("\"", name, "\" is a JSON ", object[name].type_name(), "; accepted: a string"));
  return object[name].get<std::string>();
}

struct RewardOptions {
  std::string config;
};

int answer_rewards(const RewardOptions& options) {
  std::map<std::string, Reward> rewards;
  if (!options.config.empty()) {
    const auto node = ConfigNode::load(options.config);
    if (!node.has("reward")) node.reject("reward", "a section with parts", "Without --config each line names its kind.");
    rewards.emplace("", Reward(RewardConfig::parse(node.child("reward"))));
  }
  answer_json_lines([&](const nlohmann::json& object) {
    reject_unknown_members(object, {"gold", "completion", "prompt", "extra", "kind"});
    const RewardRequest request{text_of(object, "prompt", false), text_of(object, "completion", true), text_of(object, "gold", false),
                                object.value("extra", nlohmann::json::object())};
    const auto kind = text_of(object, "kind", options.config.empty());
    auto reward = rewards.find(kind);
    if (reward == rewards.end()) {
      if (!kinds().contains(kind)) throw Error(cat("\"kind\" is ", kind, "; accepted: ", join(names_of_kinds(), ", ")));
      reward = rewards.emplace(kind, reward_of_kind(kind)).first;  // the sandbox is made when code is first asked for
    }
    const auto start = std::chrono::steady_clock::now();
    const auto score = reward->second.score(request);
    const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - start;
    nlohmann::ordered_json row{{"verdict", verdict_name(score.verdict)}};
    row["reward"] = std::isfinite(score.total) ? nlohmann::ordered_json(score.total) : nlohmann::ordered_json();
    for (const auto& [name, value] : score.parts) {
      row["rewards"][name] = std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
    }
    add_text(row, "extracted", score.extracted);
    for (const auto& answer : score.answers) {
      auto& part = row["answers"][answer.part];
      part["verdict"] = verdict_name(answer.verdict);
      add_text(part, "extracted", answer.extracted);
    }
    row["microseconds"] = std::round(taken.count() * 10) / 10;
    return row.dump();
  });
  return 0;
}

}  // namespace

void add_reward_command(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("reward", "completions to verdicts and rewards by part: JSON lines from stdin to stdout");
  const auto options = std::make_shared<RewardOptions>();
  command->add_option("--config", options->config, "a run's YAML file: its `reward:` section scores lines without \"kind\"");
  set_examples(
      *command,
      "  echo '{\"gold\": \"19\", \"completion\": \"<think> 12+7 </think> <answer> 19 </answer>\"}' | r1 reward --config "
      "configs/tiny/r1_zero.yaml\n"
      "  echo '{\"gold\": \"x^2 + 2x + 1\", \"completion\": \"so \\\\boxed{(x+1)^2}\", \"kind\": \"maths\"}' | r1 reward\n"
      "  echo '{\"completion\": \"```python\\nprint(int(input()) ** 2)\\n```\", \"kind\": \"code\", \"extra\": {\"tests\": [{\"stdin\": "
      "\"3\", \"stdout\": \"9\"}]}}' | r1 reward\n"
      "A line: gold, completion, and optionally prompt, kind (code, countdown, exact_answer, format, language, maths,\n"
      "repetition) and extra (countdown: numbers, target; code: tests, a list of stdin and stdout, or asserts). Parts with\n"
      "other settings, and kind length, by --config. The answer: verdict, reward (null when the gold answer cannot be read), rewards by part,\n"
      "extracted, answers (verdict and extracted by part), microseconds.\n");
  command->callback([options, &action] { action = [options] { return answer_rewards(*options); }; });
}

}  // namespace r1::apps
