#include "r1/train/stage_loop.h"

#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "r1/train/text_stage.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "r1/util/jsonl.h"
#include "tiny_stage.h"

namespace r1::train {
namespace {

using test::copy_of;
using test::RunFolder;
using test::same_bits;
using test::tiny_model;

struct Crash {};

/// A stage that dies before one of its steps, as a process does.
class Fragile : public TextStage {
 public:
  Fragile(StageContext context, TextStageConfig config, TextSource texts, int64_t dies_after)
      : TextStage(std::move(context), std::move(config), std::move(texts)), dies_after_(dies_after) {}
  Metrics advance() override {
    if (steps_done() == dies_after_) throw Crash{};
    return TextStage::advance();
  }

 private:
  int64_t dies_after_;
};

TextStageConfig config() {
  TextStageConfig c;
  c.steps = 10;
  c.texts_per_step = 4;
  c.update.schedule.lr = 1e-2;
  return c;
}

TextSource texts() { return shuffled_texts({{"0+1=", "1"}, {"1+1=", "2"}, {"1+0=", "1"}, {"0+0=", "0"}, {"0+2=", "2"}}, 4, "sft"); }

StageLoopOptions options(bool resume) { return {{.every_steps = 3, .keep_last = 2}, resume}; }

/// Runs until the end or the crash; returns the weights.
std::vector<torch::Tensor> run(const RunFolder& folder, int64_t dies_after, bool resume, uint64_t model_seed = 3) {
  const auto model = tiny_model(model_seed);
  auto context = folder.context("sft", model);
  Fragile stage(context, config(), texts(), dies_after);
  try {
    run_stage(stage, context, options(resume));
  } catch (const Crash&) {
  }
  return copy_of(model);
}

/// Rows of metrics.jsonl without times and speeds.
std::vector<nlohmann::json> rows(const RunFolder& folder) {
  std::vector<nlohmann::json> out;
  read_jsonl(folder.path() / "metrics.jsonl", [&](int64_t, nlohmann::json row) {
    row.erase("seconds");
    row.erase("trained_tokens_per_s");
    out.push_back(row);
  });
  return out;
}

std::filesystem::path checkpoint(const RunFolder& folder, const std::string& step) { return folder.path() / "checkpoints" / "sft" / step; }

TEST(StageLoop, ChecksOutEveryFewStepsAndAtTheEnd) {
  const RunFolder folder("loop");
  run(folder, -1, false);
  EXPECT_FALSE(std::filesystem::exists(checkpoint(folder, "step-000006")));  // keep_last is 2
  EXPECT_TRUE(std::filesystem::exists(checkpoint(folder, "step-000009")));
  const auto last = checkpoint(folder, "step-000010");
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "config.json", "characters.json", "state.json", "manifest.json"}) {
    EXPECT_TRUE(std::filesystem::exists(last / file)) << file;
  }
  const auto all = rows(folder);
  ASSERT_EQ(all.size(), 10u);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("step"), static_cast<int64_t>(i) + 1);
    EXPECT_EQ(all[i].at("stage"), "sft");
  }
}

TEST(StageLoop, AResumedStageEqualsTheUnbrokenOne) {
  const RunFolder unbroken("unbroken");
  const auto expected = run(unbroken, -1, false);
  for (const int64_t dies_after : {0, 1, 3, 5, 9}) {
    const RunFolder broken(cat("broken", dies_after));
    run(broken, dies_after, false);
    // Other start weights after a checkpoint: they must not matter.
    const auto got = run(broken, -1, true, dies_after >= 3 ? 99 : 3);
    EXPECT_TRUE(same_bits(got, expected)) << dies_after;
    EXPECT_EQ(rows(broken), rows(unbroken)) << dies_after;
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
      EXPECT_EQ(read_file(checkpoint(broken, "step-000010") / file), read_file(checkpoint(unbroken, "step-000010") / file)) << file;
    }
  }
}

TEST(StageLoop, ADamagedCheckpointGivesWayToTheOneBefore) {
  const RunFolder unbroken("whole"), broken("damaged");
  const auto expected = run(unbroken, -1, false);
  run(broken, 8, false);
  const auto newest = checkpoint(broken, "step-000006");
  auto bytes = read_file(newest / "model.safetensors");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomic(newest / "model.safetensors", bytes);
  EXPECT_TRUE(same_bits(run(broken, -1, true, 99), expected));
  EXPECT_EQ(rows(broken), rows(unbroken));
}

TEST(StageLoop, DamagedCheckpointsAreNotStartedOverInSilence) {
  const RunFolder folder("all_damaged");
  run(folder, 8, false);
  for (const char* step : {"step-000003", "step-000006"}) std::filesystem::remove(checkpoint(folder, step) / "optimizer.safetensors");
  try {
    run(folder, -1, true);
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("step-000003"), std::string::npos) << text;
    EXPECT_NE(text.find("step-000006"), std::string::npos) << text;
    EXPECT_NE(text.find("Remove that folder"), std::string::npos) << text;
  }
}

TEST(StageLoop, ACheckpointOfAnotherVocabularyIsRefused) {
  const RunFolder folder("vocabulary");
  run(folder, 5, false);
  const auto model = tiny_model();
  auto context = folder.context("sft", model);
  context.tokenizer = Tokenizer::characters("=+210", {"<pad>", "<bos>", "<eos>"});
  TextStage stage(context, config(), texts());
  EXPECT_THROW(run_stage(stage, context, options(true)), Error);
}

TEST(StageLoop, ResumingAStageThatIsDoneChangesNothing) {
  const RunFolder folder("done");
  const auto expected = run(folder, -1, false);
  const auto before = rows(folder);
  EXPECT_TRUE(same_bits(run(folder, 10, true, 99), expected));  // would die if it went on
  EXPECT_EQ(rows(folder), before);
}

// Six tokens of a text: its prompt <bos> 0 + 1 = of five rows is packed with one row of the answer; the loss counts the
// answer and <eos>. Pairs: 1 + 2 + 3 + 4 + 5, and 6.
TEST(StageLoop, TellsWhatItSpentOnceAlsoAfterACrash) {
  const RunFolder folder("account");
  const auto model = tiny_model(3);
  auto context = folder.context("sft", model);
  const auto spent = [&](int64_t dies_after, bool resume) {
    Fragile stage(context, config(), texts(), dies_after);
    auto o = options(resume);
    Usage sum;
    o.account = [&](int64_t, const Usage& u) { sum = sum - (Usage{} - u); };
    try {
      run_stage(stage, context, o);
    } catch (const Crash&) {
    }
    return sum;
  };
  const auto first = spent(8, false);  // checkpoints after 3 and 6
  EXPECT_EQ(first.trained_tokens, 8 * 4 * 2);
  EXPECT_EQ(first.training.tokens, 8 * 4 * 6);
  EXPECT_EQ(first.training.logit_rows, 8 * 4 * 2);
  EXPECT_EQ(first.training.attended, 8 * 4 * 21);
  EXPECT_GT(first.update_s, 0);
  EXPECT_GT(first.checkpoint_s, 0);
  EXPECT_EQ(first.load_s, 0);
  const auto second = spent(-1, true);  // steps 7 and 8 are paid for again
  EXPECT_EQ(second.trained_tokens, 4 * 4 * 2);
  EXPECT_EQ(second.training.tokens, 4 * 4 * 6);
  EXPECT_GT(second.load_s, 0);
}

}  // namespace
}  // namespace r1::train
