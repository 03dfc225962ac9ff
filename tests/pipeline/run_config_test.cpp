#include "r1/pipeline/run_config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "r1/util/error.h"
#include "r1/pipeline/plan.h"
#include "tiny_run.h"

namespace r1::pipeline {
namespace {

using test::error_of;
using test::expect_text;
using test::Folder;
using test::kTinyRun;

struct Bad {
  const char* name;
  std::string from, to;  // what is replaced in the config
  std::string line_of;   // text of the line that the error names
  std::vector<std::string> parts;
};

std::string replaced(const Bad& bad) {
  std::string text = kTinyRun;
  const auto place = text.find(bad.from);
  EXPECT_NE(place, std::string::npos) << bad.name;
  return text.replace(place, bad.from.size(), bad.to);
}

TEST(RunConfig, EveryMistakeNamesItsPlaceAndWhatToDo) {
  const std::vector<Bad> table{
      {"unknown key", "group_size: 4", "groop_size: 4", "groop_size", {"pipeline.1.groop_size", "Did you mean group_size?"}},
      {"unknown section", "seed: 5", "sed: 5", "sed: 5", {": sed", "Did you mean seed?"}},
      {"unknown key of a section", "every_steps: 2", "every_step: 2", "every_step: 2", {"checkpoint.every_step", "Did you mean every_steps?"}},
      {"group of one", "group_size: 4", "group_size: 1", "group_size", {"pipeline.1.group_size is 1", "2 or more", "Try 8 or 16"}},
      {"shorter later", "steps_per_rollout: 1", "longer: {after_step: 2, max_completion_tokens: 8}", "longer:",
       {"pipeline.1.longer.max_completion_tokens is 8", "above 8", "holds before"}},
      {"longer than the context", "steps_per_rollout: 1", "longer: {after_step: 2, max_completion_tokens: 160}", "pipeline:",
       {"max_completion_tokens 160", "context is 160"}},
      {"cut distribution", "temperature: 0.9", "top_p: 0.95", "top_p", {"pipeline.1.sampling.top_p is 0.95", "top_p 1", "eval.sampling may cut"}},
      {"greedy training", "temperature: 0.9", "temperature: 0", "temperature: 0", {"sampling.temperature is 0", "temperature above 0"}},
      {"no problems", "problems:\n  kind: arithmetic\n  a: [0, 9]\n  b: [0, 9]\n  prompt: \"{a}{op}{b}=\"\n  eval_size: 4\n", "", "data: {kind",
       {"data.kind", "arithmetic_worked", "problems"}},
      {"no reward", "reward:\n  parts:\n    accuracy: {kind: exact_answer, extract: last_number}\n    format: {kind: format, weight: 0.2}\n", "",
       "kind: grpo", {"pipeline.1.kind is grpo", "`reward:` section", "Add reward:"}},
      {"two stages of a name", "name: zero", "name: pretrain", "pipeline:", {"stages of different names", "'pretrain' is there twice"}},
      {"small embedding", "hidden_size: 16", "vocab_size: 20\n  hidden_size: 16", "tokenizer:",
       {"entries, the model's embedding 20 rows", "leave model.vocab_size out"}},
      {"long completions", "max_completion_tokens: 8", "max_completion_tokens: 160", "pipeline:",
       {"stage 'zero' has max_completion_tokens 160", "context is 160", "Lower sampling.max_completion_tokens"}},
      {"missing weights",
       "model:\n  hidden_size: 16\n  intermediate_size: 24\n  num_layers: 1\n  num_heads: 2\n  max_positions: 160\n  tie_embeddings: true\n",
       "model:\n  path: nowhere/model\n", "path: nowhere", {"model.path is nowhere/model", "accepted:"}},
      {"weights and a shape", "model:\n", "model:\n  path: nowhere/model\n", "hidden_size", {"model.hidden_size", "nothing beside model.path", "Remove this key"}},
      {"text for a number", "prompts_per_step: 2", "prompts_per_step: two", "prompts_per_step", {"pipeline.1.prompts_per_step is two", "whole number"}},
      {"number for a mapping", "loss: {kl_coef: 0.05}", "loss: 3", "loss: 3", {"pipeline.1.loss"}},
      {"a mapping of stages", "pipeline:\n", "pipeline: {}\nother:\n", "pipeline:", {"pipeline"}},
      {"odd stage name", "name: zero", "name: Zero/1", "Zero/1", {"pipeline.1.name is Zero/1", "lower-case letters"}},
      {"unknown kind", "kind: grpo", "kind: ppo", "kind: ppo", {"pipeline.1.kind is ppo", "grpo"}},
      {"no data", "    data: {kind: arithmetic_worked}\n", "", "- name: pretrain", {"pipeline.0.data", "A text stage needs texts"}},
      {"no model", "model:\n  hidden_size: 16\n  intermediate_size: 24\n  num_layers: 1\n  num_heads: 2\n  max_positions: 160\n  tie_embeddings: true\n", "",
       "name: tiny", {"model", "See configs/tiny/r1_zero.yaml"}},
  };
  const Folder folder("bad_configs");
  for (const auto& bad : table) {
    const auto text = replaced(bad);
    const auto file = folder / "bad.yaml";
    write_file_atomic(file, text);
    const auto place = text.find(bad.line_of);
    ASSERT_NE(place, std::string::npos) << bad.name;
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(place), '\n');
    auto parts = bad.parts;
    parts.push_back(cat(file.string(), ":", line, ":"));
    SCOPED_TRACE(bad.name);
    EXPECT_THROW(RunConfig::load(file, {}), Error);
    expect_text(error_of([&] { RunConfig::load(file, {}); }), parts);
  }
}

TEST(RunConfig, TheTinyRunIsRead) {
  const Folder folder("good_config");
  const auto c = RunConfig::load(folder.config(), {"seed=9", "pipeline.1.group_size=16"});
  EXPECT_EQ(c.name, "tiny");
  EXPECT_EQ(c.run_dir, "runs/tiny");
  EXPECT_EQ(c.seed, 9u);
  ASSERT_EQ(c.stages.size(), 2u);
  const auto& grpo = std::get<train::GrpoStageConfig>(c.stages[1].config);
  EXPECT_EQ(grpo.group_size, 16);
  EXPECT_EQ(grpo.eval.sampling.rule.temperature, 0.0);  // evaluation is greedy unless it says otherwise
  EXPECT_EQ(grpo.loss.constant_length, 8);
  EXPECT_EQ(c.base.config.vocab_size, c.load_tokenizer().vocab_size());
  EXPECT_EQ(c.base.config.bos_token_id, *c.load_tokenizer().bos_id());
  expect_text(describe_plan(c), {"zero (grpo)", "6 updates in all", "memory"});
}

TEST(RunConfig, TheShippedConfigsAreRead) {
  const auto root = std::filesystem::path(R1_SOURCE_DIR);
  const auto c = RunConfig::load(root / "configs/tiny/r1_zero.yaml", {});
  EXPECT_EQ(c.stages.size(), 2u);
  const auto r1 = RunConfig::load(root / "configs/tiny/r1.yaml", {});
  const auto student = [&](const std::string& name) {
    for (const auto& stage : r1.stages) {
      if (stage.name == name) return stage.model.config.num_parameters();
    }
    return int64_t{0};
  };
  EXPECT_LT(student("distilled"), student("rl_2") * 11 / 20);  // about half the teacher
  EXPECT_EQ(student("distilled"), student("student_rl"));
}

}  // namespace
}  // namespace r1::pipeline
