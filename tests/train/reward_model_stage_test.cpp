#include "r1/train/reward_model_stage.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "r1/train/grpo_stage.h"
#include "r1/util/error.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::copy_of;
using test::RunFolder;
using test::same_bits;
using test::tiny_model;
using test::tiny_tokenizer;
using test::value_of;

// A sum that is right is preferred to one that is wrong; two texts are longer than the others.
const std::vector<PreferenceExample> kPairs{{"0+1=", "1", "2"}, {"1+1=", "2", "11"}, {"1+0=", "1", ""}, {"0+0=", "0", "1"}, {"2+0=", "2", "0"}, {"0+2=", "2", "00"}};

RewardModelConfig config(RewardModelConfig::Loss loss = RewardModelConfig::Loss::kPairwise, int64_t micro_batch_tokens = 2048) {
  RewardModelConfig c;
  c.loss = loss;
  c.steps = 40;
  c.examples_per_step = 6;
  c.eval_fraction = 0;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = micro_batch_tokens;
  return c;
}

// r(x, y) with the text alone in its batch: BOS, prompt, text, EOS, and the head on the last row.
double plain_score(const PreferenceModel& model, const std::string& prompt, const std::string& text) {
  const torch::NoGradGuard no_grad;
  const auto tokenizer = tiny_tokenizer();
  std::vector<int64_t> ids{*tokenizer.bos_id()};
  for (const int32_t id : tokenizer.encode(prompt + text)) ids.push_back(id);
  ids.push_back(*tokenizer.eos_id());
  ops::PackedLayout layout;
  layout.add_sequence(static_cast<int64_t>(ids.size()));
  layout.finish();
  const auto last = model.backbone()->hidden(torch::tensor(ids, torch::kLong), layout)[-1].unsqueeze(0);
  return (model.backbone()->final_norm(last).to(torch::kDouble) * model.head()[0].second.to(torch::kDouble)).sum().item<double>();
}

PreferenceModel with_random_head() {
  PreferenceModel model(tiny_model());
  const torch::NoGradGuard no_grad;
  auto head = model.head()[0].second;
  for (int64_t i = 0; i < head.numel(); ++i) head.flatten()[i] = std::sin(static_cast<double>(3 * i + 1)) / 4;
  return model;
}

TEST(PreferenceModel, TheScoreIsTheHeadOnTheTextsEndWhateverElseIsInTheBatch) {
  const auto model = with_random_head();
  const auto tokenizer = tiny_tokenizer();
  std::vector<TokenTree> trees;
  for (const auto& pair : kPairs) {
    std::vector<int32_t> prompt{*tokenizer.bos_id()};
    for (const int32_t id : tokenizer.encode(pair.prompt)) prompt.push_back(id);
    trees.push_back(model.tree(tokenizer, prompt, {tokenizer.encode(*pair.chosen), tokenizer.encode(*pair.rejected)}));
  }
  const torch::NoGradGuard no_grad;
  for (const int64_t budget : {1, 20, 2048}) {
    std::vector<double> scores;
    size_t batches = 0;
    for (const auto& batch : pack_whole_trees(trees, budget)) {
      ++batches;
      EXPECT_EQ(batch.members.size() % 2, 0u) << "a pair was torn apart";
      const auto scores_S = model.score(batch);
      for (int64_t s = 0; s < scores_S.size(0); ++s) scores.push_back(scores_S[s].item<double>());
    }
    EXPECT_EQ(batches, budget == 1 ? kPairs.size() : budget == 20 ? 3u : 1u);
    ASSERT_EQ(scores.size(), 2 * kPairs.size());
    for (size_t i = 0; i < kPairs.size(); ++i) {
      EXPECT_NEAR(scores[2 * i], plain_score(model, kPairs[i].prompt, *kPairs[i].chosen), 1e-5);
      EXPECT_NEAR(scores[2 * i + 1], plain_score(model, kPairs[i].prompt, *kPairs[i].rejected), 1e-5);
    }
    EXPECT_NE(scores[0], scores[1]);
  }
}

TEST(PreferenceModel, ATextThatIsTooLongLosesItsEndAndAPromptThatIsTooLongIsRefused) {
  const PreferenceModel model(tiny_model());  // a context of 64
  const auto tokenizer = tiny_tokenizer();
  const auto tree = model.tree(tokenizer, std::vector<int32_t>(60, 3), {std::vector<int32_t>(50, 4), {4, *tokenizer.eos_id()}});
  EXPECT_EQ(tree.continuations[0].size(), 3u + 1 + 1);  // 60 + 3 + EOS = 64, and the token that is never read
  EXPECT_EQ(tree.continuations[1].size(), 1u + 1 + 1);  // EOS stands once
  EXPECT_THROW(model.tree(tokenizer, std::vector<int32_t>(63, 3), {{4}}), Error);
}

TEST(RewardModelStage, TheLossesAreBradleyTerryAndTheLogisticOne) {
  const RunFolder folder("rm_loss");
  for (const auto loss : {RewardModelConfig::Loss::kPairwise, RewardModelConfig::Loss::kPointwise}) {
    for (const int64_t budget : {16, 2048}) {
      auto backbone = tiny_model();
      RewardModelStage stage(folder.context("preference", backbone), config(loss, budget), kPairs);
      EXPECT_NEAR(value_of(stage.advance(), "loss"), std::log(2.0), 1e-6);  // all scores are 0 at first
      // Now that the head is not zero, against the plain form.
      PreferenceModel now(backbone);
      for (const auto& group : stage.checkpoint_groups()) {
        if (group.name == "score") {
          const torch::NoGradGuard no_grad;
          now.head()[0].second.copy_(group.tensors[0].second);
        }
      }
      double expected = 0;
      for (const auto& pair : kPairs) {
        const double chosen = plain_score(now, pair.prompt, *pair.chosen), rejected = plain_score(now, pair.prompt, *pair.rejected);
        if (loss == RewardModelConfig::Loss::kPairwise) expected += std::log1p(std::exp(rejected - chosen)) / 6;
        else expected += (std::log1p(std::exp(-chosen)) + std::log1p(std::exp(rejected))) / 12;
      }
      EXPECT_NEAR(value_of(stage.advance(), "loss"), expected, 1e-5);
    }
  }
}

TEST(RewardModelStage, LearnsWhatIsPreferredAndGoesOnFromACheckpointBitForBit) {
  const RunFolder folder("rm_learns");
  auto backbone = tiny_model();
  RewardModelStage stage(folder.context("preference", backbone), config(), kPairs);
  Metrics last;
  std::filesystem::path saved;
  while (stage.steps_done() < stage.total_steps()) {
    last = stage.advance();
    if (stage.steps_done() == 5) saved = save_checkpoint(folder.path() / "c", {5, stage.checkpoint_groups(), stage.checkpoint_state(), {}});
  }
  EXPECT_EQ(value_of(last, "accuracy"), 1.0);
  EXPECT_LT(value_of(last, "loss"), 0.05);
  EXPECT_GT(value_of(last, "margin"), 1.0);

  auto other = tiny_model(9);
  RewardModelStage resumed(folder.context("preference", other), config(), kPairs);
  resumed.restore(CheckpointReader(saved));
  while (resumed.steps_done() < resumed.total_steps()) resumed.advance();
  EXPECT_TRUE(same_bits(copy_of(backbone), copy_of(other)));
  EXPECT_TRUE(torch::equal(stage.checkpoint_groups()[1].tensors[0].second, resumed.checkpoint_groups()[1].tensors[0].second));
}

TEST(RewardModelStage, JudgesHeldOutPreferencesBeforeAndAfter) {
  const RunFolder folder("rm_eval");
  auto c = config();
  c.eval_fraction = 0.5;
  c.steps = 2;
  RewardModelStage stage(folder.context("preference", tiny_model()), c, kPairs);
  const auto first = stage.evaluate_if_due();
  EXPECT_EQ(value_of(first, "eval_preference_accuracy"), 0.5);  // every score is 0: a coin's
  EXPECT_NEAR(value_of(first, "eval_loss"), std::log(2.0), 1e-6);
  EXPECT_TRUE(stage.evaluate_if_due().empty());
  stage.advance();
  EXPECT_TRUE(stage.evaluate_if_due().empty());
  stage.advance();
  EXPECT_EQ(value_of(stage.evaluate_if_due(), "eval_examples"), value_of(first, "eval_examples"));
  EXPECT_EQ(stage.summary().at("preference_evaluations").size(), 2u);
}

TEST(RewardModelStage, RefusesWhatItCannotLearnFrom) {
  const RunFolder folder("rm_bad");
  EXPECT_THROW(RewardModelStage(folder.context("preference", tiny_model()), config(), {}), Error);
  EXPECT_THROW(RewardModelStage(folder.context("preference", tiny_model()), config(), {{"1+1=", "2", {}}}), Error);
  EXPECT_NO_THROW(RewardModelStage(folder.context("preference", tiny_model()), config(RewardModelConfig::Loss::kPointwise), {{"1+1=", "2", {}}}));
}

TEST(RewardModelStage, ALossThatIsNotFiniteStopsTheRunAndChangesNothing) {
  const RunFolder folder("rm_nan");
  auto backbone = tiny_model();
  RewardModelStage stage(folder.context("preference", backbone), config(), kPairs);
  {
    const torch::NoGradGuard no_grad;
    backbone->parameters()[3].flatten()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto before = copy_of(backbone);
  EXPECT_THROW(stage.advance(), Error);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "rollouts" / "preference-failed-step-1.json"));
  EXPECT_TRUE(same_bits(before, copy_of(backbone)));
}

// The preference enters the reward of the last steps as one more part, sigmoid(r) of the completion as it was sampled.
TEST(GrpoStage, APreferenceModelIsAPartOfTheRewardInTheLastSteps) {
  const RunFolder folder("rm_part");
  const auto grpo = GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 4
prompts_per_step: 3
group_size: 4
schedule: {lr: 1.0e-3}
loss: {kl_coef: 0}
sampling: {temperature: 1.0, max_completion_tokens: 6}
preference: {stage: taste, weight: 0.5, last_steps: 2}
)",
                                                                  "stage.yaml", {}));
  const Reward reward(RewardConfig::parse(ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml")));
  ProblemSet problems;
  for (int a = 0; a < 3; ++a) problems.train.push_back({a, cat(a, "+0="), cat(a), "arithmetic", {}});
  GrpoStage stage(folder.context("grpo", tiny_model()), grpo, reward, problems, with_random_head());
  for (int64_t step = 1; step <= 4; ++step) {
    const auto metrics = stage.advance();
    const bool there = std::any_of(metrics.begin(), metrics.end(), [](const auto& m) { return m.first == "reward_taste"; });
    EXPECT_EQ(there, step > 2) << "step " << step;
    if (!there) continue;
    const double taste = value_of(metrics, "reward_taste");
    EXPECT_GT(taste, 0.0);
    EXPECT_LT(taste, 1.0);
    EXPECT_NEAR(value_of(metrics, "reward"), value_of(metrics, "reward_accuracy") + 0.5 * taste, 1e-12);
  }
}

TEST(PreferenceModel, AddsTheScoreOfEachCompletionToItsOwnRow) {
  const auto model = with_random_head();
  const auto tokenizer = tiny_tokenizer();
  std::vector<ScoredGroup> groups;
  for (const auto& pair : kPairs) {
    ScoredGroup group;
    group.problem.prompt = pair.prompt;
    group.group.prompt.tokens = {*tokenizer.bos_id()};
    for (const int32_t id : tokenizer.encode(pair.prompt)) group.group.prompt.tokens.push_back(id);
    for (const auto& text : {*pair.chosen, *pair.rejected}) {
      auto& completion = group.group.completions.emplace_back();
      completion.tokens = tokenizer.encode(text);
      auto& score = group.scores.emplace_back();
      score.total = 1.0;
      score.parts = {{"accuracy", 1.0}};
    }
    groups.push_back(group);
  }
  model.add_part(groups, tokenizer, "taste", 2.0, 20);
  for (size_t i = 0; i < kPairs.size(); ++i) {
    for (const size_t k : {0, 1}) {
      const double expected = 1 / (1 + std::exp(-plain_score(model, kPairs[i].prompt, k == 0 ? *kPairs[i].chosen : *kPairs[i].rejected)));
      ASSERT_EQ(groups[i].scores[k].parts.size(), 2u);
      EXPECT_NEAR(groups[i].scores[k].parts[1].second, expected, 1e-6);
      EXPECT_NEAR(groups[i].scores[k].total, 1.0 + 2.0 * expected, 2e-6);
    }
  }
}

}  // namespace
}  // namespace r1::train
