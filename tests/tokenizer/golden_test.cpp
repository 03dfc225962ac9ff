// Ids that the PyPI packages tiktoken, tokenizers and sentencepiece give; tests/golden/tokenizer/README.md.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "tokenizer/golden_vocabulary.h"

namespace r1 {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const json& golden_ids() {
  static const json file = json::parse(read_file(golden_dir() / "ids.json"));
  return file;
}

std::filesystem::path fresh_dir(const std::string& name) {
  const auto dir = std::filesystem::temp_directory_path() / ("r1_tokenizer_golden_" + name);
  std::filesystem::remove_all(dir);
  return dir;
}

// Equal ids for every text, before and after save and load; decode gives the text back.
void check_texts(const Tokenizer& tokenizer, const json& texts, const json& ids, const std::string& name,
                 bool round_trip, const EncodeOptions& options = {}) {
  ASSERT_EQ(texts.size(), ids.size());
  const auto dir = fresh_dir(name);
  tokenizer.save(dir);
  const Tokenizer loaded = Tokenizer::load(dir);
  EXPECT_EQ(loaded.hash(), tokenizer.hash()) << name;
  EXPECT_EQ(loaded.vocab_size(), tokenizer.vocab_size()) << name;
  EXPECT_EQ(loaded.eos_ids(), tokenizer.eos_ids()) << name;
  EXPECT_EQ(loaded.bos_id(), tokenizer.bos_id()) << name;
  EXPECT_EQ(loaded.chat_template(), tokenizer.chat_template()) << name;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto expected = ids[i].get<Ids>();
    EXPECT_EQ(tokenizer.encode(text, options), expected) << name << ": " << texts[i];
    EXPECT_EQ(tokenizer.encode(text, options), expected) << name << ", the second time: " << texts[i];
    EXPECT_EQ(loaded.encode(text, options), expected) << name << ", read back: " << texts[i];
    if (round_trip) {
      EXPECT_EQ(tokenizer.decode(expected, {.skip_special = options.add_special}), text) << name;
    }
  }
  std::filesystem::remove_all(dir);
}

TEST(Golden, Gpt2IdsEqualTiktoken) {
  check_texts(golden_gpt2(), golden_ids()["texts"], golden_ids()["ids"]["gpt2"], "gpt2", true);
}

TEST(Golden, Qwen2IdsEqualTiktoken) {
  check_texts(golden_qwen2(), golden_ids()["texts"], golden_ids()["ids"]["qwen2"], "qwen2", false);  // NFC
}

TEST(Golden, Llama3IdsEqualTiktoken) {
  check_texts(golden_llama3(), golden_ids()["texts"], golden_ids()["ids"]["llama3"], "llama3", true);
}

TEST(Golden, SmolLm2IdsFromGgufMetadataEqualTokenizers) {
  const auto tokenizer = Tokenizer::gguf(golden_smollm2());
  check_texts(tokenizer, golden_ids()["texts"], golden_ids()["ids"]["smollm2"], "smollm2",
              false);  // lacks bytes
  EXPECT_EQ(tokenizer.vocab_size(), 49152);
  EXPECT_FALSE(tokenizer.covers_all_bytes());
}

TEST(Golden, DeepSeekV3IdsEqualTokenizers) {
  check_texts(Tokenizer::load(golden_dir() / "deepseek-v3.json"), golden_ids()["texts"],
              golden_ids()["ids"]["deepseek-v3"], "deepseek-v3", true);
}

TEST(Golden, Stories260kIdsEqualSentencePiece) {
  const auto& expected = golden_ids()["stories260k"];
  GgufVocabulary vocabulary = golden_stories260k();
  check_texts(Tokenizer::gguf(vocabulary), expected["texts"], expected["ids"], "stories260k", true);
}

TEST(Golden, EveryPieceOfTokenizerJsonWorksAsInTokenizers) {
  const json file = json::parse(read_file(golden_dir() / "variants.json"));
  ASSERT_GE(file["variants"].size(), 20u);
  for (const auto& variant : file["variants"]) {
    const auto name = variant["name"].get<std::string>();
    const auto dir = fresh_dir("variant_source");
    std::filesystem::create_directories(dir);
    std::ofstream(dir / "tokenizer.json") << variant["tokenizer"].dump();
    const bool round_trip = name == "ignore merges" || name == "punctuation" || name == "digits";
    check_texts(Tokenizer::load(dir), file["texts"], variant["ids"], "variant", round_trip,
                {.add_special = true});
    EXPECT_FALSE(HasFailure()) << "variant: " << name;
    if (HasFailure()) break;
    std::filesystem::remove_all(dir);
  }
}

}  // namespace
}  // namespace r1
