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

TEST(Graph, NothingKeptIsAnErrorOfThatStage) {
  const Folder folder("graph_nothing");
  const auto config = RunConfig::load(write_graph(folder, "require: []", "require: [format]"), {"run_dir=" + (folder / "run").string()});
  expect_text(error_of([&] { run(config, ""); }), {"stage 'samples' kept none of 21 completions", "format", "Raise prompts"});
}

}  // namespace
}  // namespace r1::pipeline
