#include <gtest/gtest.h>

#include "r1/data/text_examples.h"
#include "r1/model/weights.h"
#include "r1/pipeline/run.h"
#include "r1/pipeline/verify_resume.h"
#include "r1/util/error.h"
#include "r1/pipeline/plan.h"
#include "tiny_run.h"

namespace r1::pipeline {
namespace {

using test::error_of;
using test::expect_text;
using test::Folder;
using test::kTinyRun;

// After the tiny run's two stages: samples of the second, SFT of the first one's weights on them, and a student.
const char* const kMoreStages = R"(  - name: samples
    kind: rejection_sample
    prompts: 7
    prompts_per_step: 3
    samples: 3
    keep_per_prompt: 2
    require: []
    sampling: {max_completion_tokens: 8}
  - name: sft
    kind: sft
    from: pretrain
    data:
      kind: mixture
      sources:
        - {kind: stage, stage: samples, weight: 3}
        - {kind: arithmetic_worked}
    steps: 4
    texts_per_step: 2
    schedule: {lr: 1.0e-2}
    eval: {every_steps: 2}
  - name: student
    kind: pretrain
    from: base
    model: {hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, max_positions: 160}
    data: {kind: arithmetic_worked}
    steps: 2
    texts_per_step: 2
    schedule: {lr: 1.0e-2}
  - name: distilled
    kind: distill
    data: {kind: stage, stage: samples}
    steps: 3
    texts_per_step: 2
    schedule: {lr: 1.0e-2}
)";

// Preferences from the second stage's model, a reward model, RL with it, an evaluation and two exports.
const char* const kPreferenceStages = R"(  - name: pairs
    kind: rejection_sample
    from: pretrain
    keep: pairs
    prompts: 40
    prompts_per_step: 10
    samples: 8
    sampling: {max_completion_tokens: 8}
  - name: taste
    kind: reward_model
    from: zero
    data: {kind: stage, stage: pairs}
    steps: 3
    examples_per_step: 2
    eval_fraction: 0.3
    schedule: {lr: 1.0e-2}
  - name: rl
    kind: grpo
    from: zero
    steps: 4
    prompts_per_step: 2
    group_size: 4
    schedule: {lr: 1.0e-2}
    sampling: {max_completion_tokens: 8}
    preference: {stage: taste, weight: 0.5, last_steps: 2}
  - name: measured
    kind: eval
    from: rl
    eval: {problems: 3, sampling: {temperature: 0, max_completion_tokens: 8}}
  - name: folder
    kind: export
    from: rl
    path: export/rl
    dtype: bf16
  - name: file
    kind: export
    from: rl
    path: export/rl.gguf
    dtype: q8_0
)";

std::filesystem::path write_preferences(const Folder& folder, const std::string& from = "", const std::string& to = "") {
  std::string text = std::string(kTinyRun) + kPreferenceStages;
  const auto replace = [&](const std::string& a, const std::string& b) {
    const auto place = text.find(a);
    EXPECT_NE(place, std::string::npos) << a;
    if (place != std::string::npos) text.replace(place, a.size(), b);
  };
  // Few characters and short answers, so that some completions of a barely trained model are right.
  const auto letters = text.find("  characters: ");
  text.replace(letters, text.find('\n', letters) - letters, "  characters: \"\\n 0123456789()*+-/=\"");
  replace("data: {kind: arithmetic_worked}\n    steps: 4\n    texts_per_step: 2",
          "data: {kind: arithmetic_worked, completion: \"{steps} {answer}\", mixture: {answer_only: 1}}\n    steps: 40\n    texts_per_step: 8");
  if (!from.empty()) replace(from, to);
  write_file_atomic(folder / "preferences.yaml", text);
  return folder / "preferences.yaml";
}

std::filesystem::path write_graph(const Folder& folder, const std::string& from = "", const std::string& to = "") {
  std::string text = std::string(kTinyRun) + kMoreStages;
  if (!from.empty()) {
    const auto place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    text.replace(place, from.size(), to);
  }
  write_file_atomic(folder / "graph.yaml", text);
  return folder / "graph.yaml";
}

TEST(Graph, StagesBeginWithTheWeightsAndTextsThatTheyName) {
  const Folder folder("graph");
  const auto run_dir = folder / "run";
  const auto config = RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string()});
  ASSERT_EQ(config.stages.size(), 6u);
  EXPECT_EQ(config.stages[2].from, "zero");
  EXPECT_EQ(config.stages[3].from, "pretrain");
  EXPECT_EQ(config.stages[4].from, "");
  EXPECT_EQ(config.stages[5].from, "student");
  expect_text(describe_plan(config), {"samples (rejection_sample), from zero", "7 prompts x 3 completions", "student (pretrain)\n"});

  testing::internal::CaptureStdout();
  run(config, "");
  expect_text(testing::internal::GetCapturedStdout(), {"21 completions of 7 problems: 100.0 % pass", "14 kept", "stage distilled (distill), 3 steps"});
  const auto texts = read_text_folder(run_dir / "data/samples");
  ASSERT_EQ(texts.size(), 14u);
  for (const auto& text : texts) EXPECT_EQ(text.prompt.find_first_not_of("0123456789+-="), std::string::npos) << text.prompt;
  EXPECT_EQ(model::open_weights(run_dir / "checkpoints/distilled/latest")->config().hidden_size, 8);
  EXPECT_EQ(model::open_weights(run_dir / "checkpoints/sft/latest")->config().hidden_size, 16);
  const auto sft = nlohmann::json::parse(read_file(run_dir / "stages/sft.json"));
  EXPECT_EQ(sft.at("evaluations").size(), 3u);  // after 0, 2 and 4 updates

  // The SFT stage begins with the pre-trained weights, not with those of the stage before it: its first evaluation is
  // that of the GRPO stage, which begins there too.
  const auto zero = nlohmann::json::parse(read_file(run_dir / "stages/zero.json"));
  EXPECT_EQ(sft.at("evaluations")[0].at("eval_problems"), zero.at("evaluations")[0].at("eval_problems"));
}

TEST(Graph, AChangedSettingRunsAgainWhatDependsOnItAndNothingElse) {
  const Folder folder("graph_changed");
  const auto run_dir = folder / "run";
  run(RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string()}), "");
  const auto files_of = [&](const std::vector<std::string>& stages) {
    std::map<std::string, std::string> files;
    for (const auto& stage : stages) {
      for (const auto& file : test::contents_of(run_dir / "checkpoints" / stage)) files[stage + "/" + file.first] = file.second;
    }
    return files;
  };
  const std::vector<std::string> untouched = {"pretrain", "zero", "student"}, repeated = {"sft", "distilled"};
  const auto before = files_of(untouched), old = files_of(repeated);
  const auto refusal = error_of([&] { resume(run_dir, {"pipeline.2.keep_per_prompt=1"}, false, ""); });
  expect_text(refusal, {"pipeline.2.keep_per_prompt: 2 -> 1", "samples, sft, distilled."});
  EXPECT_EQ(files_of(repeated), old);

  resume(run_dir, {"pipeline.2.keep_per_prompt=1"}, true, "");
  EXPECT_EQ(files_of(untouched), before);
  EXPECT_EQ(read_text_folder(run_dir / "data/samples").size(), 7u);
  EXPECT_TRUE(std::filesystem::exists(run_dir / "replaced/1/data/samples"));
  EXPECT_NE(files_of(repeated), old);

  // It equals a run that had the setting from the start, and the change is kept.
  const auto fresh = folder / "fresh";
  run(RunConfig::load(write_graph(folder), {"run_dir=" + fresh.string(), "pipeline.2.keep_per_prompt=1"}), "");
  for (const auto& stage : repeated) {
    EXPECT_EQ(hash_file(run_dir / "checkpoints" / stage / "latest/model.safetensors"), hash_file(fresh / "checkpoints" / stage / "latest/model.safetensors")) << stage;
  }
  EXPECT_EQ(RunConfig::load(run_dir / "config.yaml", {}).source.leaves().size(), RunConfig::load(fresh / "config.yaml", {}).source.leaves().size());
  const auto results = files_of(repeated);
  resume(run_dir, {}, false, "");
  EXPECT_EQ(files_of(repeated), results);
}

TEST(Graph, PreferencesTrainARewardModelThatRlUsesAndAModelIsMeasuredAndExported) {
  const Folder folder("graph_preferences");
  const auto run_dir = folder / "run";
  const auto config = RunConfig::load(write_preferences(folder), {"run_dir=" + run_dir.string()});
  EXPECT_EQ(config.stages[5].from, "rl");
  testing::internal::CaptureStdout();
  const auto error = error_of([&] { run(config, ""); });
  const auto printed = testing::internal::GetCapturedStdout();
  ASSERT_EQ(error, "(no error)");
  expect_text(printed, {"stage taste (reward_model), 3 steps", "stage measured (eval), 1 steps", "bf16", "q8_0"});
  EXPECT_GE(read_preferences(run_dir / "data/pairs").size(), 2u);
  EXPECT_TRUE(std::filesystem::exists(run_dir / "checkpoints/taste/latest/score.safetensors"));
  int with_taste = 0;
  for (const auto& row : test::rows_of(run_dir)) {
    if (row.at("stage") == "rl" && row.contains("reward_taste")) ++with_taste;
  }
  EXPECT_EQ(with_taste, 2);
  const auto measured = nlohmann::json::parse(read_file(run_dir / "stages/measured.json"));
  ASSERT_EQ(measured.at("evaluations").size(), 1u);
  EXPECT_EQ(measured.at("evaluations")[0].at("eval_problems"), 3);
  EXPECT_EQ(model::open_weights(run_dir / "export/rl")->config().hidden_size, 16);
  EXPECT_EQ(model::open_weights(run_dir / "export/rl.gguf")->config().num_heads, 2);
  // Everything is complete, so going on changes nothing.
  const auto before = test::contents_of(run_dir / "checkpoints");
  resume(run_dir, {}, false, "");
  EXPECT_EQ(test::contents_of(run_dir / "checkpoints"), before);
}

TEST(Graph, ARunWithARewardModelThatIsKilledEqualsTheUnbrokenOne) {
  const Folder folder("graph_preferences_killed");
  EXPECT_TRUE(verify_resume(
      {.program = "/proc/self/exe", .config = write_preferences(folder), .overrides = {}, .work_dir = folder / "work", .kills = 4}));
}

TEST(Graph, FromRepeatsAStageAndWhatDependsOnIt) {
  const Folder folder("graph_from");
  const auto run_dir = folder / "run";
  const auto config = RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string()});
  EXPECT_NE(error_of([&] { run_from(config, "sft", ""); }), "(no error)");
  EXPECT_FALSE(std::filesystem::exists(run_dir));
  expect_text(describe_states(config), {"stage samples (rejection_sample): runs\n"});
  run(config, "", "sft");
  expect_text(describe_states(config, "samples"),
              {"zero (grpo): complete, left as it is", "samples (rejection_sample): runs again\n", "sft (sft): runs again: what it reads is made anew",
               "student (pretrain): runs\n"});
  expect_text(describe_states(config, "", "sft"), {"samples (rejection_sample): complete", "student (pretrain): not reached"});
  expect_text(error_of([&] { run_from(config, "distilled", ""); }), {"--from is distilled", "'student'", "is not complete", "--from student"});
  EXPECT_TRUE(std::filesystem::exists(run_dir / "stages/sft.json"));  // a refusal changes nothing

  // With a changed setting of that very stage: the others stand, and it equals a run that had it from the start.
  const auto zero = test::contents_of(run_dir / "checkpoints/zero");
  const auto changed = RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string(), "pipeline.2.keep_per_prompt=1"});
  run_from(changed, "samples", "", "sft");
  EXPECT_EQ(test::contents_of(run_dir / "checkpoints/zero"), zero);
  EXPECT_EQ(read_text_folder(run_dir / "data/samples").size(), 7u);
  EXPECT_TRUE(std::filesystem::exists(run_dir / "replaced/1/data/samples"));
  const auto fresh = folder / "fresh";
  run(RunConfig::load(write_graph(folder), {"run_dir=" + fresh.string(), "pipeline.2.keep_per_prompt=1"}), "", "sft");
  EXPECT_EQ(hash_file(run_dir / "checkpoints/sft/latest/model.safetensors"), hash_file(fresh / "checkpoints/sft/latest/model.safetensors"));

  // A stage before it that was made otherwise is named.
  const auto earlier = RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string(), "pipeline.1.group_size=6"});
  expect_text(error_of([&] { run_from(earlier, "samples", ""); }), {"'zero'", "other settings", "group_size: 6", "--from zero"});
}

TEST(Graph, EndsAfterTheStageThatUntilNames) {
  const Folder folder("graph_until");
  const auto run_dir = folder / "run";
  const auto config = RunConfig::load(write_graph(folder), {"run_dir=" + run_dir.string()});
  expect_text(error_of([&] { run(config, "", "smaples"); }), {"--until is smaples", "pretrain, zero, samples"});
  EXPECT_FALSE(std::filesystem::exists(run_dir));
  run(config, "", "zero");
  EXPECT_TRUE(std::filesystem::exists(run_dir / "stages/zero.json"));
  EXPECT_FALSE(std::filesystem::exists(run_dir / "stages/samples.begun.json"));
  resume(run_dir, {}, false, "", "pretrain");  // nothing to do
  EXPECT_FALSE(std::filesystem::exists(run_dir / "stages/samples.begun.json"));
  resume(run_dir, {}, false, "", "sft");
  EXPECT_TRUE(std::filesystem::exists(run_dir / "stages/sft.json"));
  EXPECT_FALSE(std::filesystem::exists(run_dir / "stages/student.begun.json"));
}

TEST(Graph, ARunKilledInAnyStageEqualsTheUnbrokenOne) {
  const Folder folder("graph_killed");
  EXPECT_TRUE(verify_resume({.program = "/proc/self/exe", .config = write_graph(folder), .overrides = {}, .work_dir = folder / "work", .kills = 4}));
}

TEST(Graph, MistakesNameTheirPlace) {
  const Folder folder("graph_bad");
  const auto expect = [&](const std::string& from, const std::string& to, std::vector<std::string> parts) {
    const auto file = write_graph(folder, from, to);
    SCOPED_TRACE(to);
    expect_text(error_of([&] { RunConfig::load(file, {}); }), parts);
  };
  expect("from: pretrain", "from: pretrian", {"pipeline.3.from is pretrian", "base, pretrain, zero"});
  expect("from: pretrain", "from: samples", {"pipeline.3.from is samples", "an earlier stage that has weights"});
  expect("from: pretrain", "from: distilled", {"pipeline.3.from is distilled", "Stages run in the order of the list"});
  expect("{kind: stage, stage: samples, weight: 3}", "{kind: stage, stage: zero}", {"stage is zero", "kind rejection_sample"});
  expect("weight: 3", "weight: 0", {"weight is 0", "above 0"});
  expect("    from: base\n", "", {"pipeline.4.model", "no model where the weights come from a stage", "from: base"});
  expect("require: []", "require: [acuracy]", {"require", "accuracy, format", "no part 'acuracy'"});
  expect("name: distilled", "name: base", {"pipeline.5.name is base"});
  expect("keep_per_prompt: 2", "keep_per_prompt: 0", {"keep_per_prompt is 0", "1 or more"});
}

TEST(Graph, MistakesOfPreferenceStagesNameTheirPlace) {
  const Folder folder("graph_bad_preferences");
  const auto expect = [&](const std::string& from, const std::string& to, std::vector<std::string> parts) {
    const auto file = write_preferences(folder, from, to);
    SCOPED_TRACE(to);
    expect_text(error_of([&] { RunConfig::load(file, {}); }), parts);
  };
  expect("keep: pairs", "keep: passing", {"pipeline.3.data.stage is pairs", "keep: pairs; there is none"});
  expect("keep: pairs", "keep: pairs\n    require: [format]", {"pipeline.2.require", "only with keep: passing"});
  expect("samples: 8", "samples: 1", {"pipeline.2.samples is 1", "at least 2 with keep: pairs"});
  expect("stage: taste", "stage: pairs", {"pipeline.4.preference.stage is pairs", "kind reward_model: taste"});
  expect("last_steps: 2", "last_steps: 5", {"last_steps is 5"});
  expect("last_steps: 2}", "last_steps: 2}\n    reward_weights: {formt: 1}", {"pipeline.4.reward_weights.formt", "accuracy, format"});
  expect("eval_fraction: 0.3", "loss: pairs", {"pipeline.3.loss is pairs", "pairwise, pointwise"});
  expect("path: export/rl\n", "path: ../rl\n", {"pipeline.6.path is \"../rl\"", "below the run directory"});
  expect("path: export/rl\n", "path: /tmp/rl\n", {"below the run directory"});
  expect("dtype: bf16", "dtype: q8_0", {"pipeline.6.dtype is q8_0", "f32, f16, bf16"});
  expect("from: zero\n    data", "from: taste\n    data", {"pipeline.3.from is taste", "an earlier stage that has weights"});
}

TEST(Graph, AStageCanWeighTheRewardsPartsOtherwise) {
  const Folder folder("graph_weights");
  const auto config = RunConfig::load(write_preferences(folder, "last_steps: 2}", "last_steps: 2}\n    reward_weights: {format: 0}"), {});
  EXPECT_EQ(config.stages[1].reward->parts[1].weight, 0.2);
  EXPECT_EQ(config.stages[4].reward->parts[0].weight, 1.0);
  EXPECT_EQ(config.stages[4].reward->parts[1].weight, 0.0);
}

TEST(Graph, NothingKeptIsAnErrorOfThatStage) {
  const Folder folder("graph_nothing");
  const auto config = RunConfig::load(write_graph(folder, "require: []", "require: [format]"), {"run_dir=" + (folder / "run").string()});
  expect_text(error_of([&] { run(config, ""); }), {"stage 'samples' kept none of 21 completions", "format", "Raise prompts"});
}

}  // namespace
}  // namespace r1::pipeline
