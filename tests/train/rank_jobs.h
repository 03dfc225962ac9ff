#pragma once
// Stages on some ranks that are threads, and what they come to.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "r1/train/grpo_stage.h"
#include "r1/train/reward_model_stage.h"
#include "r1/train/text_stage.h"
#include "r1/util/jsonl.h"
#include "support/thread_ranks.h"
#include "tiny_stage.h"

namespace r1::train::test {

/// What a job of some ranks has come to.
struct Outcome {
  std::vector<torch::Tensor> weights;  ///< of the whole model in order, after those of several ranks were found equal
  std::vector<double> losses, rewards;
  std::vector<std::string> texts;  ///< sampled, in the order of the log
  int64_t optimizer_elements = 0;  ///< m and v of rank 0
};

struct Job {
  int ranks = 1;
  Numerics numerics = Numerics::kExact;
  bool zero = false;
  int expert = 1;  ///< ranks that hold the experts between them
};

/// The model with its experts dealt over ranks, as one that was made so.
inline model::Transformer dealt(const model::Transformer& whole, const model::ExpertRanks& experts) {
  model::Transformer model(whole->config(), torch::TensorOptions(torch::kFloat), experts);
  const torch::NoGradGuard no_grad;
  std::map<std::string, torch::Tensor> all;
  for (const auto& [name, tensor] : whole->named_tensors()) all[name] = tensor;
  for (const auto& [name, tensor] : model->named_tensors()) tensor.copy_(all.at(name));
  return model;
}

/// `run` on every rank, with a stage's context of its own.
inline Outcome train(const Job& job, const std::function<model::Transformer()>& make_model,
              const std::function<void(const StageContext&, Outcome&)>& run) {
  const RunFolder folder("ranks");
  std::vector<Outcome> outcomes(static_cast<size_t>(job.ranks));
  std::vector<std::map<std::string, torch::Tensor>> weights(outcomes.size());
  std::vector<std::string> names;
  r1::test::run_ranks(job.ranks, [&](std::shared_ptr<dist::Communicator> ranks) {
    torch::set_num_threads(1);
    auto context = folder.context("stage", make_model());
    context.sharing = {ranks, job.numerics, job.zero};
    if (job.expert > 1) {
      context.sharing.experts = ExpertSharing::of(*ranks, job.expert);
      context.model = dealt(context.model, {context.sharing.experts->group, job.numerics == Numerics::kExact});
    }
    auto& outcome = outcomes[static_cast<size_t>(ranks->rank())];
    run(context, outcome);
    for (const auto& [name, tensor] : context.model->named_tensors()) weights[static_cast<size_t>(ranks->rank())][name] = tensor.clone();
    if (ranks->is_first()) {
      names = context.model->all_parameter_names();
      for (const auto& buffer : context.model->named_buffers()) names.push_back(buffer.key());
    }
  });
  for (const auto& name : names) {
    torch::Tensor first;
    for (const auto& of_rank : weights) {
      const auto found = of_rank.find(name);
      if (found == of_rank.end()) continue;
      if (!first.defined()) first = found->second;
      EXPECT_TRUE(same_bits({first}, {found->second})) << name << " differs between ranks of " << job.ranks;
    }
    outcomes[0].weights.push_back(first);
  }
  for (int r = 1; r < job.ranks; ++r) {
    const auto& other = outcomes[static_cast<size_t>(r)];
    EXPECT_EQ(other.losses, outcomes[0].losses);
    EXPECT_EQ(other.rewards, outcomes[0].rewards);
  }
  const auto logged = folder.path() / "rollouts" / "stage";
  if (std::filesystem::exists(logged)) {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(logged)) files.push_back(file.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      read_jsonl(file, [&](int64_t, const nlohmann::json& row) { outcomes[0].texts.push_back(row.at("text")); });
    }
  }
  return outcomes[0];
}

inline TextExample text_example(int64_t i) { return {cat(i % 3, "+", i % 2, "="), std::string(static_cast<size_t>(1 + i % 5), '1')}; }

inline TextStageConfig text_stage_config(int64_t micro_batch_tokens) {
  TextStageConfig c;
  c.steps = 12;
  c.texts_per_step = 13;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = micro_batch_tokens;
  return c;
}

inline Outcome train_texts(const Job& job, int64_t micro_batch_tokens, const std::function<model::Transformer()>& make_model = [] { return test::tiny_model(); }) {
  return train(job, make_model, [&](const StageContext& context, Outcome& outcome) {
    TextStage stage(context, text_stage_config(micro_batch_tokens), text_example);
    while (stage.steps_done() < stage.total_steps()) outcome.losses.push_back(value_of(stage.advance(), "loss"));
    for (const auto& group : stage.checkpoint_groups()) {
      if (group.name != "optimizer") continue;
      for (const auto& [name, tensor] : group.tensors) outcome.optimizer_elements += tensor.numel();
      for (const auto& slice : group.slices) outcome.optimizer_elements += slice.values.numel();
    }
  });
}

inline Outcome train_grpo(const Job& job, const std::function<model::Transformer()>& make_model, const std::vector<std::string>& overrides = {}) {
  return train(job, make_model, [&](const StageContext& context, Outcome& outcome) {
    const auto config = GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 6
prompts_per_step: 5
group_size: 4
micro_batch_tokens: 40
schedule: {lr: 1.0e-2}
loss: {kl_coef: 0.001, clip_low: 0.2, clip_high: 0.28}
rollout: {max_batch: 8}
sampling: {temperature: 0.8, max_completion_tokens: 6}
)",
                                                                      "stage.yaml", overrides));
    ProblemSet problems;
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; a + b < 3; ++b) problems.train.push_back({a * 3 + b, cat(a, "+", b, "="), cat(a + b), "arithmetic", {}});
    }
    problems.eval = problems.train;
    Reward reward(RewardConfig::parse(ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml")));
    GrpoStage stage(context, config, reward, problems);
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_accuracy"));
    while (stage.steps_done() < stage.total_steps()) {
      const auto figures = stage.advance();
      outcome.losses.push_back(value_of(figures, "loss"));
      outcome.rewards.push_back(value_of(figures, "reward"));
      EXPECT_EQ(value_of(figures, "logprob_error_max"), job.numerics == Numerics::kExact ? 0 : value_of(figures, "logprob_error_max"));
    }
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_accuracy"));
  });
}

inline RewardModelConfig reward_model_config(int64_t steps) {
  RewardModelConfig c;
  c.steps = steps;
  c.examples_per_step = 6;
  c.eval_fraction = 0.3;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = 20;
  return c;
}

inline std::vector<PreferenceExample> preference_pairs() {
  std::vector<PreferenceExample> pairs;
  for (int i = 0; i < 12; ++i) pairs.push_back({cat(i % 3, "+", i % 2, "="), std::string(static_cast<size_t>(1 + i % 3), '2'), "00"});
  return pairs;
}

inline Outcome train_reward_model(const Job& job, const std::function<model::Transformer()>& make_model) {
  return train(job, make_model, [](const StageContext& context, Outcome& outcome) {
    RewardModelStage stage(context, reward_model_config(5), preference_pairs());
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_loss"));
    while (stage.steps_done() < stage.total_steps()) outcome.losses.push_back(value_of(stage.advance(), "loss"));
    outcome.rewards.push_back(value_of(stage.evaluate_if_due(), "eval_loss"));
  });
}

inline void expect_equal(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_TRUE(same_bits(a.weights, b.weights)) << what;
  EXPECT_EQ(a.losses, b.losses) << what;
  EXPECT_EQ(a.rewards, b.rewards) << what;
  EXPECT_EQ(a.texts, b.texts) << what;
}

}  // namespace r1::train::test
