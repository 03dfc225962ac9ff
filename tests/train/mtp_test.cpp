#include "r1/train/mtp.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "r1/model/mtp.h"
#include "r1/train/checkpoint.h"
#include "r1/train/grpo_stage.h"
#include "r1/train/text_stage.h"
#include "r1/util/error.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::RunFolder;
using test::same_bits;
using test::value_of;

std::vector<model::Transformer> both_kinds() { return {test::with_mtp(test::tiny_model()), test::with_mtp(test::tiny_mixture())}; }

// Prompts of 3, 1 and 6 tokens; completions with none, one and several tokens.
std::vector<TokenTree> trees() {
  return {{{1, 3, 4}, {{5, 6, 7, 2}, {4}, {}, {6, 6, 3}}}, {{1}, {{3, 5}, {7}, {4, 4, 2}}}, {{1, 3, 6, 5, 4, 7}, {{3, 2}}}};
}

// The mean over all tokens with a predecessor's predecessor, each sequence alone, through the plain logits.
double plain_loss(model::Transformer model, double inv_temperature, int64_t* count) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  *count = 0;
  for (const auto& tree : trees()) {
    for (const auto& own : tree.continuations) {
      std::vector<int64_t> ids(tree.prompt.begin(), tree.prompt.end());
      ids.insert(ids.end(), own.begin(), own.end());
      if (ids.size() < 3) continue;
      ops::PackedLayout layout;
      layout.add_sequence(static_cast<int64_t>(ids.size()));
      layout.finish();
      const auto ids_N = torch::tensor(ids, torch::kLong);
      const auto hidden = model->mtp_hidden(ids_N, model->hidden(ids_N, layout), model::MtpLayout(layout), model::MtpGradient::kWithTrunk);
      const auto logprobs = torch::log_softmax(model->mtp_logits(hidden).to(torch::kDouble) * inv_temperature, -1);
      for (size_t t = std::max<size_t>(2, tree.prompt.size()); t < ids.size(); ++t) {
        sum -= logprobs[static_cast<int64_t>(t) - 2][ids[t]].item<double>();
        ++*count;
      }
    }
  }
  return sum / static_cast<double>(*count);
}

TEST(MtpLoss, IsThePlainCrossEntropyWhateverThePacking) {
  for (auto& model : both_kinds()) {
    for (const double inv_temperature : {1.0, 1.25}) {
      int64_t count = 0;
      const double expected = plain_loss(model, inv_temperature, &count);
      EXPECT_EQ(count, count_mtp_targets(trees()));
      for (const bool share : {true, false}) {
        for (const int64_t budget : {1, 9, 1000}) {
          double sum = 0;
          int64_t targets = 0;
          for (const auto& batch : pack_micro_batches(trees(), budget, share)) {
            const auto hidden = model->hidden(batch.tokens_N, batch.layout);
            const auto loss = mtp_loss(model, hidden, batch, nullptr, inv_temperature, model::MtpGradient::kModuleAlone);
            targets += loss.targets;
            if (loss.targets > 0) sum += loss.sum.item<double>();
            EXPECT_EQ(loss.targets > 0, loss.counts.tokens > 0);
          }
          EXPECT_EQ(targets, count);
          EXPECT_NEAR(sum / static_cast<double>(count), expected, 1e-6) << share << " " << budget;
        }
      }
    }
  }
}

TEST(MtpConfig, ReadsItsKeys) {
  const auto parse = [](const std::string& text, bool own_rate) { return MtpConfig::parse(ConfigNode::parse_text(text, "stage.yaml"), 0.3, own_rate); };
  EXPECT_EQ(0.3, parse("{}", false).loss_weight);
  EXPECT_EQ(0.1, parse("loss_weight: 0.1", false).loss_weight);
  EXPECT_EQ(0.01, parse("lr: 0.01", true).lr);
  EXPECT_THROW(parse("lr: 0.01", false), Error);  // trained with the trunk, at its rate
  EXPECT_THROW(parse("loss_weight: -1", true), Error);
}

TextStageConfig text_config(double loss_weight) {
  TextStageConfig c;
  c.train_on_prompt = true;
  c.steps = 40;
  c.texts_per_step = 6;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = 32;
  c.update.optimizer.weight_decay = 0.1;
  c.mtp.loss_weight = loss_weight;
  return c;
}

TextExample text(int64_t i) {
  static const std::vector<TextExample> kTexts{{"0+1=", "1"}, {"1+1=", "2"}, {"1+0=", "1"}, {"0+0=", "0"}, {"2+0=", "2"}, {"0+2=", "22"}};
  return kTexts[static_cast<size_t>(i) % kTexts.size()];
}

std::vector<torch::Tensor> part_of(const model::Transformer& model, bool mtp) {
  std::vector<torch::Tensor> out;
  for (const auto& [name, tensor] : model->named_tensors()) {
    if (model->config().is_mtp_parameter(name) == mtp) out.push_back(tensor.clone());
  }
  return out;
}

TEST(TextStageWithMtp, LearnsToPredictTheTokenAfterTheNextAndShapesTheTrunk) {
  const RunFolder folder("text_mtp");
  for (const auto& plain : {test::tiny_model(), test::tiny_mixture()}) {
    auto model = test::with_mtp(plain), without = plain;
    TextStage stage(folder.context("sft", model), text_config(0.3), text), trunk_alone(folder.context("sft", without), text_config(0.3), text);
    const auto first = stage.advance();
    EXPECT_EQ(value_of(first, "loss"), value_of(trunk_alone.advance(), "loss"));  // the figure is the trunk's
    EXPECT_FALSE(same_bits(part_of(model, false), part_of(without, false)));
    double last = 0;
    while (stage.steps_done() < stage.total_steps()) last = value_of(stage.advance(), "mtp_loss");
    EXPECT_GT(value_of(first, "mtp_loss"), 1.0);
    EXPECT_LT(last, 0.5 * value_of(first, "mtp_loss"));
  }
}

TEST(TextStageWithMtp, AtWeightZeroTheModuleStaysAndTheTrunkIsTheSameBits) {
  const RunFolder folder("text_mtp_off");
  for (const auto& plain : {test::tiny_model(), test::tiny_mixture()}) {
    auto model = test::with_mtp(plain), without = plain;
    const auto module = part_of(model, true);
    TextStage stage(folder.context("sft", model), text_config(0), text), trunk_alone(folder.context("sft", without), text_config(0), text);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(value_of(stage.advance(), "grad_norm"), value_of(trunk_alone.advance(), "grad_norm"));
    EXPECT_TRUE(same_bits(part_of(model, true), module));
    EXPECT_TRUE(same_bits(part_of(model, false), part_of(without, false)));
  }
}

GrpoStageConfig grpo_config(const std::vector<std::string>& overrides = {}) {
  return GrpoStageConfig::parse(ConfigNode::parse_text(R"(
steps: 12
prompts_per_step: 4
group_size: 8
micro_batch_tokens: 64
schedule: {lr: 1.0e-2}
optimizer: {max_grad_norm: 0.1, weight_decay: 0.01}
loss: {kl_coef: 0.01, clip_low: 0.2, clip_high: 0.28}
sampling: {temperature: 0.8, max_completion_tokens: 6}
rollout: {speculation: always}
)",
                                                       "stage.yaml", overrides));
}

Reward last_number() {
  return Reward(RewardConfig::parse(ConfigNode::parse_text("parts: {accuracy: {kind: exact_answer, extract: last_number}}", "reward.yaml")));
}

ProblemSet sums() {
  ProblemSet set;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; a + b < 3; ++b) set.train.push_back({a * 3 + b, cat(a, "+", b, "="), cat(a + b), "arithmetic", {}});
  }
  return set;
}

// The policy's own run is untouched by the module: same texts, same figures, same weights.
TEST(GrpoStageWithMtp, TheModuleLearnsAndThePolicyIsTheSameBitsAsWithoutIt) {
  for (const auto& plain : {test::tiny_model(), test::tiny_mixture()}) {
    const RunFolder folder("grpo_mtp"), other("grpo_plain");
    auto model = test::with_mtp(plain), without = plain;
    const std::vector<std::string> settings{"mtp={lr: 0.02}", "experts={bias_rate: 0.01, balance_loss: 0.001}"};
    GrpoStage stage(folder.context("grpo", model), grpo_config(settings), last_number(), sums());
    GrpoStage trunk_alone(other.context("grpo", without), grpo_config(settings), last_number(), sums());
    std::vector<double> losses;
    double gradients = 0;
    for (int i = 0; i < 12; ++i) {
      const auto with = stage.advance(), expected = trunk_alone.advance();
      for (const char* name : {"reward", "loss", "grad_norm", "completion_tokens_mean", "entropy", "kl"})
        EXPECT_EQ(value_of(with, name), value_of(expected, name)) << name << " step " << i + 1;
      EXPECT_EQ(value_of(with, "logprob_error_max"), 0.0);
      EXPECT_GT(value_of(with, "mtp_grad_norm"), 0.0);
      EXPECT_GE(value_of(with, "speculation_acceptance"), 0.0);
      losses.push_back(value_of(with, "mtp_loss"));
      gradients += value_of(with, "grad_norm");
    }
    EXPECT_GT(gradients, 0.0);
    EXPECT_TRUE(same_bits(part_of(model, false), part_of(without, false)));
    EXPECT_LT(losses.back(), losses.front());
  }
}

TEST(GrpoStageWithMtp, AtWeightZeroTheModuleStays) {
  const RunFolder folder("grpo_mtp_off");
  auto model = test::with_mtp(test::tiny_mixture());
  const auto module = part_of(model, true);
  GrpoStage stage(folder.context("grpo", model), grpo_config({"mtp={loss_weight: 0}", "experts={bias_rate: 0.01}"}), last_number(), sums());
  for (int i = 0; i < 3; ++i) stage.advance();
  EXPECT_TRUE(same_bits(part_of(model, true), module));
  for (const auto& group : stage.checkpoint_groups()) EXPECT_NE(group.name, "mtp_optimizer");
}

TEST(GrpoStageWithMtp, ACheckpointHoldsTheModuleAndItsOptimizer) {
  const RunFolder folder("grpo_mtp_resume"), other("grpo_mtp_resumed");
  auto model = test::with_mtp(test::tiny_mixture());
  GrpoStage unbroken(folder.context("grpo", model), grpo_config(), last_number(), sums());
  for (int i = 0; i < 2; ++i) unbroken.advance();
  save_checkpoint(folder.path() / "checkpoints", {2, unbroken.checkpoint_groups(), unbroken.checkpoint_state(), {}});
  auto again = test::with_mtp(test::tiny_mixture(), 77);
  GrpoStage resumed(other.context("grpo", again), grpo_config(), last_number(), sums());
  resumed.restore(CheckpointReader(newest_checkpoint(folder.path() / "checkpoints")->path));
  EXPECT_TRUE(same_bits(test::copy_of(model), test::copy_of(again)));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(value_of(unbroken.advance(), "mtp_loss"), value_of(resumed.advance(), "mtp_loss"));
  EXPECT_TRUE(same_bits(test::copy_of(model), test::copy_of(again)));
}

}  // namespace
}  // namespace r1::train
