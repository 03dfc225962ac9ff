#include "r1/train/rejection_stage.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "r1/util/error.h"
#include "r1/util/jsonl.h"
#include "r1/util/random.h"
#include "r1/util/strings.h"

namespace r1::train {

RejectionConfig RejectionConfig::parse(ConfigNode node, const RewardConfig& reward) {
  RejectionConfig c;
  c.sampling = rollout::SamplingConfig::parse(node.child("sampling"));
  c.engine = rollout::EngineConfig::parse(node.child("rollout"));
  node.read("prompts", c.prompts, at_least<int64_t>(1));
  node.read("samples", c.samples, at_least<int64_t>(1));
  node.read("prompts_per_step", c.prompts_per_step, at_least<int64_t>(1));
  node.read("keep_per_prompt", c.keep_per_prompt, at_least<int64_t>(1));
  std::string keep = "passing";
  node.read("keep", keep, one_of({"passing", "pairs"}));
  c.keep = keep == "pairs" ? Keep::kPairs : Keep::kPassing;
  if (c.keep == Keep::kPairs) {
    for (const char* key : {"require", "choose", "keep_per_prompt"}) {
      if (node.has(key)) node.reject(key, "only with keep: passing", "A pair is a problem's best and worst completion by total reward.");
    }
    if (c.samples < 2) node.reject("samples", "at least 2 with keep: pairs", "A pair needs two completions of one prompt.");
  }
  std::string choose = "shortest";
  node.read("choose", choose, one_of({"shortest", "first"}));
  c.choose = choose == "first" ? Choose::kFirst : Choose::kShortest;
  std::vector<std::string> parts;
  for (const auto& part : reward.parts) {
    const bool penalty = part.kind == RewardKind::kRepetition || part.kind == RewardKind::kLength;
    if (!penalty) parts.push_back(part.name);  // a penalty is never 1
    if (part.weight != 0 && (checks_answer(part.kind) || part.kind == RewardKind::kFormat)) c.require.push_back(part.name);
  }
  if (node.has("require")) {
    node.read("require", c.require);
    for (const auto& name : c.require) {
      if (std::find(parts.begin(), parts.end(), name) == parts.end()) {
        node.reject("require", cat("names of reward.parts: ", join(parts, ", ")), cat("There is no part '", name, "'."));
      }
    }
  }
  return c;
}

RejectionStage::RejectionStage(StageContext context, RejectionConfig config, Reward reward, const ProblemSet& problems)
    : context_(std::move(context)),
      config_(std::move(config)),
      reward_(std::move(reward)),
      stream_(problems.train, context_.seed, stage_id(context_.stage.c_str())),
      engine_(std::make_unique<rollout::Engine>(context_.model, context_.tokenizer, config_.engine)) {}

RejectionStage::~RejectionStage() = default;

int64_t RejectionStage::total_steps() const {
  return (config_.prompts + config_.prompts_per_step - 1) / config_.prompts_per_step;
}

bool RejectionStage::keeps(const Score& score) const {
  if (score.verdict == Verdict::kGoldUnreadable) return false;
  return std::all_of(config_.require.begin(), config_.require.end(), [&](const std::string& name) {
    return std::any_of(score.parts.begin(), score.parts.end(),
                       [&](const auto& part) { return part.first == name && part.second >= 1; });
  });
}

Metrics RejectionStage::advance() {
  const auto before = seconds_;
  const int64_t first = step_ * config_.prompts_per_step, count = std::min(config_.prompts_per_step, config_.prompts - first);
  std::vector<Problem> problems;
  for (int64_t i = 0; i < count; ++i) problems.push_back(stream_.at(first + i));
  const auto groups = sample_and_score({*engine_, context_.tokenizer, reward_, context_.sharing, seconds_}, std::move(problems), first,
                                       config_.samples, config_.sampling, {context_.seed, stage_id(context_.stage.c_str()), 0});
  std::string lines;
  int64_t tokens = 0, passed = 0, kept_count = 0, solved = 0;
  const bool pairs = config_.keep == RejectionConfig::Keep::kPairs;
  for (const auto& g : groups) {
    std::vector<size_t> kept;
    for (size_t i = 0; i < g.scores.size(); ++i) {
      tokens += static_cast<int64_t>(g.group.completions[i].tokens.size());
      if (keeps(g.scores[i])) kept.push_back(i);
    }
    const auto write = [&](const nlohmann::ordered_json& line) {
      lines += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    };
    if (pairs) {
      const auto by_total = [](const Score& a, const Score& b) { return a.total < b.total; };
      const auto worst = std::min_element(g.scores.begin(), g.scores.end(), by_total);
      const auto best = std::max_element(g.scores.begin(), g.scores.end(), by_total);
      passed += static_cast<int64_t>(kept.size());
      solved += kept.empty() ? 0 : 1;
      if (!(best->total > worst->total)) continue;  // also when the gold answer is unreadable and both are NaN
      const auto& chosen = g.texts[static_cast<size_t>(best - g.scores.begin())];
      const auto& rejected = g.texts[static_cast<size_t>(worst - g.scores.begin())];
      if (chosen == rejected) continue;  // they differ in what is not text, the end token
      ++kept_count;
      write({{"prompt", g.problem.prompt}, {"chosen", chosen}, {"rejected", rejected}, {"problem_id", g.problem.id},
             {"margin", best->total - worst->total}});
      continue;
    }
    passed += static_cast<int64_t>(kept.size());
    solved += kept.empty() ? 0 : 1;
    if (config_.choose == RejectionConfig::Choose::kShortest) {
      std::stable_sort(kept.begin(), kept.end(), [&](size_t a, size_t b) {
        return g.group.completions[a].tokens.size() < g.group.completions[b].tokens.size();
      });
    }
    kept.resize(std::min(kept.size(), static_cast<size_t>(config_.keep_per_prompt)));
    kept_count += static_cast<int64_t>(kept.size());
    for (const size_t i : kept) {
      const auto& completion = g.group.completions[i];
      nlohmann::ordered_json line{{"prompt", g.problem.prompt},
                                  {"completion", g.texts[i]},
                                  {"problem_id", g.problem.id},
                                  {"num_tokens", completion.tokens.size()}};
      for (const auto& [name, value] : g.scores[i].parts) line["rewards"][name] = value;
      write(line);
    }
  }
  ++step_;
  sampled_ += count * config_.samples;
  generated_tokens_ += tokens;
  passed_ += passed;
  kept_ += kept_count;
  solved_ += solved;
  if (!lines.empty()) {
    context_.sharing.ranks->together("kept completions", [&] {
      if (!context_.sharing.ranks->is_first()) return;
      const auto folder = context_.run_dir / "data" / context_.stage;
      std::filesystem::create_directories(folder);
      char name[64];
      std::snprintf(name, sizeof name, "step-%06lld.jsonl.zst", static_cast<long long>(step_));
      write_zstd(folder / name, lines);
    });
  } else if (step_ >= total_steps() && kept_ == 0) {
    throw Error(cat("stage '", context_.stage, "' kept none of ", sampled_, " completions: ",
                    pairs ? "every problem's completions had equal rewards" : cat("not one had ", join(config_.require, " and "), " right"),
                    ".\n  Raise prompts or samples",
                    pairs ? ", or sample from an earlier model." : ", require less, or train the model it samples from further."));
  }
  const double rollout_s = seconds_.rollout - before.rollout;
  return {{"passed", static_cast<double>(passed) / static_cast<double>(count * config_.samples)},
          {"solved_problems", static_cast<double>(solved) / static_cast<double>(count)},
          {"kept", static_cast<double>(kept_count)},
          {"generated_tokens", static_cast<double>(tokens)},
          {"generated_tokens_per_s", static_cast<double>(tokens) / rollout_s},
          {"rollout_seconds", rollout_s},
          {"reward_seconds", seconds_.reward - before.reward}};
}

std::string RejectionStage::progress_note() const {
  return cat("kept ", kept_, " of ", sampled_, "  ", human_count(static_cast<double>(generated_tokens_) / std::max(1e-9, seconds_.rollout)),
             " tok/s");
}

nlohmann::json RejectionStage::checkpoint_state() const {
  return {{"step", step_},       {"generated_tokens", generated_tokens_},
          {"sampled", sampled_}, {"passed", passed_},
          {"kept", kept_},       {"solved", solved_},
          {"seconds", {seconds_.rollout, seconds_.reward}}};
}

void RejectionStage::restore(const CheckpointReader& reader) {
  const auto& s = reader.state();
  step_ = s.at("step");
  generated_tokens_ = s.at("generated_tokens");
  sampled_ = s.at("sampled");
  passed_ = s.at("passed");
  kept_ = s.at("kept");
  solved_ = s.at("solved");
  seconds_ = {s.at("seconds")[0], s.at("seconds")[1]};
}

Usage RejectionStage::usage() const {
  const auto& stats = engine_->stats();
  Usage u;
  u.rollout_s = seconds_.rollout;
  u.reward_s = seconds_.reward;
  u.prompt_tokens = stats.prompt_tokens;
  u.generated_tokens = stats.generated_tokens;
  u.sampling = stats.computed;
  return u;
}

nlohmann::json RejectionStage::summary() const {
  return {{"steps", step_},
          {"problems", config_.prompts},
          {"solved_problems", solved_},
          {"sampled", sampled_},
          {"passed", passed_},
          {"kept", kept_},
          {"generated_tokens", generated_tokens_},
          {"rollout_seconds", seconds_.rollout},
          {"reward_seconds", seconds_.reward}};
}

}  // namespace r1::train
