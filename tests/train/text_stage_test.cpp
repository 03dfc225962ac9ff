#include "r1/train/text_stage.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "r1/util/error.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::copy_of;
using test::RunFolder;
using test::same_bits;
using test::tiny_model;
using test::value_of;

const std::vector<TextExample> kTexts{{"0+1=", "1"}, {"1+1=", "2"}, {"1+0=", "1"}, {"0+0=", "0"}, {"2+0=", "2"}, {"0+2=", "22"}};

TextSource in_turn() {
  return [](int64_t i) { return kTexts[static_cast<size_t>(i) % kTexts.size()]; };
}

TextStageConfig config(bool train_on_prompt, int64_t micro_batch_tokens = 2048) {
  TextStageConfig c;
  c.train_on_prompt = train_on_prompt;
  c.steps = 40;
  c.texts_per_step = 6;
  c.update.schedule.lr = 1e-2;
  c.update.micro_batch_tokens = micro_batch_tokens;
  return c;
}

/// Mean of -log p over the tokens from position `first` on, each text alone, through the plain logits.
double mean_loss(model::Transformer model, bool train_on_prompt, int64_t* count) {
  const torch::NoGradGuard no_grad;
  const auto tokenizer = test::tiny_tokenizer();
  double sum = 0;
  *count = 0;
  for (const auto& text : kTexts) {
    std::vector<int64_t> ids{*tokenizer.bos_id()};
    for (const int32_t id : tokenizer.encode(text.prompt + text.completion)) ids.push_back(id);
    ids.push_back(*tokenizer.eos_id());
    ops::PackedLayout layout;
    layout.add_sequence(static_cast<int64_t>(ids.size()));
    layout.finish();
    const auto logprobs = torch::log_softmax(model->logits(model->hidden(torch::tensor(ids, torch::kLong), layout)).to(torch::kDouble), -1);
    const size_t first = train_on_prompt ? 1 : 1 + text.prompt.size();
    for (size_t t = first; t < ids.size(); ++t) {
      sum -= logprobs[static_cast<int64_t>(t) - 1][ids[t]].item<double>();
      ++*count;
    }
  }
  return sum / static_cast<double>(*count);
}

TEST(TextStage, TheLossIsThatOfTheCompletionsAloneUnlessThePromptIsTrainedOn) {
  const RunFolder folder("text_loss");
  for (const bool train_on_prompt : {false, true}) {
    for (const int64_t budget : {16, 2048}) {
      auto model = tiny_model();
      int64_t count = 0;
      const double expected = mean_loss(model, train_on_prompt, &count);
      TextStage stage(folder.context("sft", model), config(train_on_prompt, budget), in_turn());
      const auto metrics = stage.advance();
      EXPECT_NEAR(value_of(metrics, "loss"), expected, 1e-6);
      EXPECT_EQ(value_of(metrics, "trained_tokens"), static_cast<double>(count));
      EXPECT_EQ(count, train_on_prompt ? 13 + 24 : 13);  // 7 characters of completions and 6 EOS; 4 of each prompt
    }
  }
}

TEST(TextStage, LearnsItsTexts) {
  const RunFolder folder("text_learns");
  auto model = tiny_model();
  TextStage stage(folder.context("sft", model), config(false), in_turn());
  const double first = value_of(stage.advance(), "loss");
  double last = first;
  while (stage.steps_done() < stage.total_steps()) last = value_of(stage.advance(), "loss");
  EXPECT_GT(first, 1.0);
  EXPECT_LT(last, 0.1 * first);
  EXPECT_EQ(stage.summary().at("trained_tokens"), 40 * 13);
}

TEST(TextStage, ALossThatIsNotFiniteStopsTheRunAndChangesNothing) {
  const RunFolder folder("text_nan");
  auto model = tiny_model();
  TextStage stage(folder.context("sft", model), config(false), in_turn());
  stage.advance();
  {
    const torch::NoGradGuard no_grad;
    model->parameters()[3].flatten()[0] = std::numeric_limits<float>::quiet_NaN();
  }
  const auto before = copy_of(model);
  try {
    stage.advance();
    FAIL() << "no error";
  } catch (const Error& error) {
    const auto file = folder.path() / "rollouts" / "sft-failed-step-2.json";
    const std::string text = error.what();
    EXPECT_NE(text.find("step 2"), std::string::npos) << text;
    EXPECT_NE(text.find(file.string()), std::string::npos) << text;
    EXPECT_TRUE(std::filesystem::exists(file));
  }
  EXPECT_TRUE(same_bits(before, copy_of(model)));
  EXPECT_EQ(stage.steps_done(), 1);
}

TEST(TextStage, ShuffledTextsAreAPermutationOfEachEpoch) {
  const auto source = shuffled_texts(kTexts, 5, "sft"), other = shuffled_texts(kTexts, 6, "sft");
  std::vector<std::vector<std::string>> epochs(4);
  bool differs = false;
  for (int64_t i = 0; i < 24; ++i) {
    epochs[static_cast<size_t>(i) / 6].push_back(source(i).prompt);
    differs |= source(i).prompt != other(i).prompt;
  }
  EXPECT_TRUE(differs);
  EXPECT_EQ(source(3).prompt, epochs[0][3]);  // a function of i alone, also backwards
  EXPECT_FALSE(epochs[0] == epochs[1] && epochs[1] == epochs[2]);
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_EQ(epoch, (std::vector<std::string>{"0+0=", "0+1=", "0+2=", "1+0=", "1+1=", "2+0="}));
  }
}

}  // namespace
}  // namespace r1::train
