// import and export: the same weights and token ids on the other side, and nothing half written.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <nlohmann/json.hpp>

#include "process.h"
#include "r1/model/weights.h"
#include "r1/tokenizer/tokenizer.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;
using r1::testing_support::slurp;
using r1::testing_support::TempFolder;
using testing_support::model_with_tokenizer;
using testing_support::run_r1;

void expect_equal_weights(const fs::path& a, const fs::path& b) {
  const auto x = model::open_weights(a), y = model::open_weights(b);
  int64_t compared = 0;
  for (const auto& spec : model::expected_parameters(x->config())) {
    EXPECT_TRUE(torch::equal(x->load(spec.name), y->load(spec.name))) << spec.name;
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

std::string logprobs_of(const fs::path& model) {
  const auto r = run_r1({"logprobs", "--model", model}, "{\"ids\":[0,4,13,7,18,2,1,40,47,5]}\n");
  EXPECT_EQ(r.exit_code, 0) << r.err;
  return r.out;
}

class RoundTrip : public ::testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, ThroughGgufF32IsBitEqual) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model", GetParam());
  const auto gguf = folder / "model.gguf", back = folder / "back";
  const auto exported = run_r1({"export", model, gguf});
  ASSERT_EQ(exported.exit_code, 0) << exported.err;
  EXPECT_HOLDS(exported.out, "wrote " + gguf.string());
  const auto imported = run_r1({"import", gguf, back});
  ASSERT_EQ(imported.exit_code, 0) << imported.err;
  expect_equal_weights(model, back);
  const std::string logprobs = logprobs_of(model);
  EXPECT_EQ(logprobs_of(gguf), logprobs);
  EXPECT_EQ(logprobs_of(back), logprobs);
  const std::string text = "{\"text\":\"<bos>12 + 7 = 19?<eos>\"}\n";
  const auto ids = run_r1({"tokenize", "--tokenizer", model}, text);
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  EXPECT_EQ(run_r1({"tokenize", "--tokenizer", gguf}, text).out, ids.out);
  EXPECT_EQ(run_r1({"tokenize", "--tokenizer", back}, text).out, ids.out);
  const Tokenizer read = Tokenizer::load(back);
  EXPECT_EQ(read.bos_id(), 0);
  EXPECT_EQ(read.eos_ids(), std::vector<int32_t>{1});
}

INSTANTIATE_TEST_SUITE_P(Families, RoundTrip,
                         ::testing::Values("llama_linear_rope_bf16", "llama_yarn_rope_f16",
                                           "qwen2_bias_sharded", "qwen3_qk_norm"));

// GGUF stores Llama 3's scaling as divisors; only those of the published parameters can be read back.
TEST(Transfer, AnUnusualLlama3ScalingIsRefusedOnTheWayBack) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model", "llama_tied_llama3_rope");
  ASSERT_EQ(run_r1({"export", model, folder / "model.gguf"}).exit_code, 0);
  const auto imported = run_r1({"import", folder / "model.gguf", folder / "back"});
  EXPECT_EQ(imported.exit_code, 1);
  EXPECT_HOLDS(imported.err, "Convert from the HF directory instead");
  EXPECT_FALSE(fs::exists(folder / "back"));
}

TEST(Transfer, Bf16WeightsSurviveAFolderOfBf16) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model", "llama_linear_rope_bf16");
  const auto r = run_r1({"export", model, folder / "half", "--type", "bf16"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  expect_equal_weights(model, folder / "half");
  EXPECT_EQ(slurp(folder / "half/characters.json"), slurp(model / "characters.json"));
  EXPECT_HOLDS(slurp(folder / "half/config.json"), "bfloat16");
  EXPECT_LT(fs::file_size(folder / "half/model.safetensors"),
            fs::file_size(model / "model.safetensors") + 4096);
}

TEST(Transfer, Q8StaysNear) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model", "qwen3_qk_norm");
  const auto r = run_r1({"export", model, folder / "small.gguf", "--type", "q8_0"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const auto exact = model::open_weights(model), small = model::open_weights(folder / "small.gguf");
  const auto a = exact->load("model.layers.0.mlp.down_proj.weight"),
             b = small->load("model.layers.0.mlp.down_proj.weight");
  EXPECT_LT((a - b).abs().max().item<double>(), a.abs().max().item<double>() / 127);
}

TEST(Transfer, ForceReplacesAModelAndLeavesNoRest) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  ASSERT_EQ(run_r1({"import", model, folder / "copy"}).exit_code, 0);
  folder.write("copy/old_file", "x");
  const auto refused = run_r1({"import", model, folder / "copy"});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_TRUE(fs::exists(folder / "copy/old_file"));
  const auto r = run_r1({"import", "--force", model, folder / "copy"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_FALSE(fs::exists(folder / "copy/old_file"));
  EXPECT_EQ(folder.num_entries(), 2u);  // nothing beside model and copy
}

TEST(Transfer, AnotherTokenizerAndNone) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  fs::rename(model / "characters.json", folder / "characters.json");
  const auto without = run_r1({"import", model, folder / "none"});
  ASSERT_EQ(without.exit_code, 0) << without.err;
  EXPECT_HOLDS(without.err, "no tokenizer");
  const auto with = run_r1({"import", model, folder / "some", "--tokenizer", folder / "characters.json"});
  ASSERT_EQ(with.exit_code, 0) << with.err;
  EXPECT_EQ(Tokenizer::load(folder / "some").vocab_size(), 48);
}

TEST(Transfer, AFailedImportLeavesNothing) {
  const TempFolder folder;
  const auto model = model_with_tokenizer(folder, "model");
  folder.write("model/characters.json", testing_support::characters_json("!"));  // 49 tokens for 48 rows
  EXPECT_EQ(run_r1({"import", model, folder / "copy"}).exit_code, 1);
  EXPECT_EQ(run_r1({"export", model, folder / "copy.gguf"}).exit_code, 1);
  EXPECT_EQ(folder.num_entries(), 1u);
}

}  // namespace
}  // namespace r1::apps
