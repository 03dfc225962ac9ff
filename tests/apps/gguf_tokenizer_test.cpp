// Tokenizers written into GGUF give the same ids, or are refused.
#include "gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "r1/tokenizer/tokenizer.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

namespace fs = std::filesystem;
using pipeline::gguf_tokenizer;
using r1::testing_support::error_of;
using r1::testing_support::TempFolder;

// The vocabulary that a GGUF reader gets.
Tokenizer read_back(const model::GgufTokenizer& t) {
  GgufVocabulary v;
  v.model = t.model;
  v.pre = t.pre;
  v.tokens = t.tokens;
  v.merges = t.merges;
  v.scores = t.scores;
  v.token_types = t.token_types;
  if (t.bos_id >= 0) v.bos_id = static_cast<int32_t>(t.bos_id);
  if (t.eos_id >= 0) v.eos_ids = {static_cast<int32_t>(t.eos_id)};
  if (t.unknown_id >= 0) v.unknown_id = static_cast<int32_t>(t.unknown_id);
  v.add_bos = t.add_bos;
  return Tokenizer::gguf(v);
}

const char* const kTexts[] = {"12 + 7 = 19", "The  quick\n\n brown fox's 1234 jumps",
                              "h\u00e9llo \u4f60\u597d \U0001F600", "a\tb", ""};

fs::path golden(const std::string& name) { return fs::path(R1_SOURCE_DIR) / "tests/golden/tokenizer" / name; }

TEST(GgufTokenizer, DeepSeekKeepsItsIds) {
  const TempFolder folder;
  fs::copy_file(golden("deepseek-v3.json"), folder / "tokenizer.json");
  const auto t = gguf_tokenizer(folder.path());
  EXPECT_EQ(t.pre, "deepseek-v3");
  const Tokenizer original = Tokenizer::load(folder.path()), back = read_back(t);
  EXPECT_EQ(back.vocab_size(), original.vocab_size());
  for (const std::string text :
       {"12 + 7 = 19", "hello <think> me </think>!", "a<\uff5cUser\uff5c>b", "1234567"}) {
    EXPECT_EQ(back.encode(text), original.encode(text)) << text;
  }
}

TEST(GgufTokenizer, EveryWayOfSplittingIsFound) {
  std::ifstream in(golden("smollm2.json"));
  const auto json = nlohmann::json::parse(in);
  GgufVocabulary v;
  v.model = "gpt2";
  v.tokens.resize(json.at("size").get<size_t>());  // most of them are holes
  v.token_types.assign(v.tokens.size(), 5);
  for (const auto& [kind, type] : {std::pair{"vocab", 1}, {"control", 3}}) {
    for (const auto& [token, id] : json.at(kind).items()) {
      v.tokens[id.get<size_t>()] = token;
      v.token_types[id.get<size_t>()] = type;
    }
  }
  v.merges = json.at("merges").get<std::vector<std::string>>();
  v.eos_ids = {2};
  for (const char* pre : {"gpt-2", "smollm", "qwen2", "llama-bpe", "deepseek-v3"}) {
    v.pre = pre;
    const auto original = Tokenizer::gguf(v);
    const TempFolder folder;
    original.save(folder.path());
    const auto t = gguf_tokenizer(folder.path());
    EXPECT_EQ(t.pre, pre);
    EXPECT_EQ(read_back(t).hash(), original.hash());
  }
}

TEST(GgufTokenizer, SentencePieceKeepsItsIds) {
  std::ifstream in(golden("stories260k.json"));
  const auto json = nlohmann::json::parse(in);
  GgufVocabulary v;
  v.model = "llama";
  v.tokens = json.at("tokens").get<std::vector<std::string>>();
  v.scores = json.at("scores").get<std::vector<float>>();
  v.token_types = json.at("types").get<std::vector<int32_t>>();
  v.bos_id = 1;
  v.eos_ids = {2};
  v.unknown_id = 0;
  v.add_bos = true;
  const auto original = Tokenizer::gguf(v);
  const TempFolder folder;
  original.save(folder.path());
  const Tokenizer back = read_back(gguf_tokenizer(folder.path()));
  EXPECT_EQ(back.hash(), original.hash());
  for (const char* text : kTexts) EXPECT_EQ(back.encode(text), original.encode(text)) << text;
}

TEST(GgufTokenizer, RefusesWhatGgufCannotHold) {
  const TempFolder folder;
  folder.write("c/characters.json", testing_support::characters_json("\u00e9"));
  EXPECT_HOLDS(error_of([&] { gguf_tokenizer(folder / "c"); }), "accepted: ASCII");
  // Another way to split than any that has a name.
  std::ifstream in(golden("deepseek-v3.json"));
  auto json = nlohmann::json::parse(in);
  json["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "x+"}}}, {"behavior", "Isolated"}, {"invert", false}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
  folder.write("d/tokenizer.json", json.dump());
  EXPECT_HOLDS(error_of([&] { gguf_tokenizer(folder / "d"); }),
               "its way to split text is none of gpt-2, smollm");
}

}  // namespace
}  // namespace r1::apps
