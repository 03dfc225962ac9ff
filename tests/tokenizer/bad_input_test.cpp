// Broken vocabularies: each ends in an Error that says where; none in a crash.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"
#include "r1/util/file.h"
#include "tokenizer/golden_vocabulary.h"

namespace r1 {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class BadTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::temp_directory_path() / ("r1_tokenizer_bad_" + std::to_string(::getpid()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name, std::ios::binary) << text;
    return dir_ / name;
  }
  // The message of the Error that loading gives; "" when none is thrown.
  static std::string load_error(const fs::path& path) {
    try {
      Tokenizer::load(path);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  // A small valid tokenizer.json of the goldens.
  static json small_file() {
    static const json file = json::parse(read_file(golden_dir() / "variants.json"));
    return file["variants"][0]["tokenizer"];
  }
  static void expect_mentions(const std::string& message, const std::vector<std::string>& parts) {
    for (const auto& part : parts)
      EXPECT_NE(message.find(part), message.npos) << "no '" << part << "' in: " << message;
  }

  fs::path dir_;
};

TEST_F(BadTokenizer, PathsThatHoldNone) {
  expect_mentions(load_error(dir_ / "absent"), {"absent", "does not exist", "accepted"});
  expect_mentions(load_error(dir_), {"neither tokenizer.json nor characters.json"});
  expect_mentions(load_error(write("vocab.txt", "a")), {"vocab.txt", ".txt", "accepted"});
  expect_mentions(load_error(write("x.tiktoken", "IQ== 0\n")), {"x.tiktoken", "pre-tokenizer", "qwen2"});
  expect_mentions(load_error(write("x.gguf", "GGUF")), {"x.gguf"});
  expect_mentions(load_error(write("tokenizer.json", "{\"model\": ")),
                  {"tokenizer.json", "not a JSON object"});
  expect_mentions(load_error(write("tokenizer.json", "[]")), {"not a JSON object"});
  expect_mentions(load_error(write("tokenizer.json", std::string(100'000, '['))), {"nested"});
}

TEST_F(BadTokenizer, TokenizerJsonNamesTheKey) {
  const std::vector<std::tuple<std::string, json, std::vector<std::string>>> table = {
      {"/model", nullptr, {"no \"model\""}},
      {"/model/type", "Unigram", {"model.type", "Unigram", "accepted: BPE"}},
      {"/model/dropout", 0.1, {"dropout", "0.1"}},
      {"/model/end_of_word_suffix", "</w>", {"end_of_word_suffix", "</w>"}},
      {"/model/vocab", json::array(), {"model.vocab", "object"}},
      {"/model/vocab/a", -1, {"model.vocab", "-1"}},
      {"/model/vocab/a", "x", {"model.vocab", "\"x\""}},
      {"/model/vocab/a", 1e9, {"model.vocab"}},
      {"/model/vocab/a", 99'000'000, {"99000000", "accepted"}},
      {"/model/vocab/a", 0, {"two tokens"}},
      {"/model/merges", 3, {"model.merges", "3"}},
      {"/model/merges/0", "qqqq zzzz", {"model.merges[0]", "qqqq zzzz"}},
      {"/model/merges/0", json::array({"a"}), {"model.merges[0]"}},
      {"/model/ignore_merges", "yes", {"ignore_merges", "true or false"}},
      {"/model/unk_token", "<none>", {"unk_token", "<none>"}},
      {"/pre_tokenizer/type", "Magic", {"pre_tokenizer", "Magic", "accepted"}},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Sideways", {"pre_tokenizer.pretokenizers[0]", "Sideways"}},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "(", {"pre_tokenizer", "regular expression"}},
      {"/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a&&b]", {"&&", "not supported"}},
      {"/pre_tokenizer", nullptr, {"ByteLevel", "U+2581"}},
      {"/normalizer", {{"type", "Nmt"}}, {"normalizer", "Nmt", "accepted"}},
      {"/normalizer", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "x"}}, {"empty"}},
      {"/post_processor", {{"type", "Other"}}, {"post_processor", "Other"}},
      {"/added_tokens", 5, {"added_tokens", "5"}},
      {"/added_tokens", {{{"id", 5}}}, {"added_tokens[0]", "content"}},
      {"/added_tokens",
       {{{"id", 5}, {"content", "<a>"}}, {{"id", 5}, {"content", "<b>"}}},
       {"id 5", "twice"}},
  };
  ASSERT_EQ(load_error(write("tokenizer.json", small_file().dump())), "");
  for (const auto& [pointer, value, parts] : table) {
    json file = small_file();
    file[json::json_pointer(pointer)] = value;
    const auto message = load_error(write("tokenizer.json", file.dump()));
    expect_mentions(message, parts);
    expect_mentions(message, {"tokenizer.json"});
  }
}

TEST_F(BadTokenizer, ConfigBesideIt) {
  write("tokenizer.json", small_file().dump());
  write("tokenizer_config.json", "{");
  expect_mentions(load_error(dir_), {"tokenizer_config.json", "not a JSON object"});
  write("tokenizer_config.json", R"({"bos_token": {"content": "a"}, "eos_token": "b", "pad_token": null})");
  write("generation_config.json", R"({"eos_token_id": [3, 4]})");
  const auto t = Tokenizer::load(dir_);
  EXPECT_EQ(t.bos_id(), t.token_id("a"));
  EXPECT_EQ(t.eos_ids(), (std::vector<int32_t>{*t.token_id("b"), 3, 4}));
  EXPECT_EQ(t.pad_id(), std::nullopt);
  write("generation_config.json", R"({"eos_token_id": 100000})");
  expect_mentions(load_error(dir_), {"end-of-sequence id is 100000", "accepted"});
  write("generation_config.json", R"({"eos_token_id": "x"})");
  expect_mentions(load_error(dir_), {"generation_config.json", "eos_token_id", "\"x\""});
}

TEST_F(BadTokenizer, CharactersFile) {
  expect_mentions(load_error(write("characters.json", R"({"type":"characters"})")),
                  {"characters.json", "\"characters\""});
  expect_mentions(load_error(write("characters.json", R"({"type":"characters","characters":"aba"})")),
                  {"'a'", "twice"});
  expect_mentions(
      load_error(write("characters.json", R"({"type":"characters","characters":"a","special":1})")),
      {"special", "1"});
  expect_mentions(
      load_error(write("characters.json", R"({"type":"characters","characters":"a","special":[1]})")),
      {"special", "1"});
  write("characters.json", R"({"type":"characters","characters":"01\n","special":["<pad>","<eos>"]})");
  const auto t = Tokenizer::load(dir_);
  EXPECT_EQ(t.encode("1\n0"), (std::vector<int32_t>{3, 4, 2}));
  t.save(dir_ / "again");
  EXPECT_EQ(Tokenizer::load(dir_ / "again").hash(), t.hash());
  EXPECT_EQ(Tokenizer::load(dir_ / "again").eos_id(), 1);
}

TEST_F(BadTokenizer, TiktokenRanksNameTheLine) {
  const auto error = [&](const std::string& text, const std::string& pre = "gpt2") -> std::string {
    try {
      Tokenizer::tiktoken(write("r.tiktoken", text), pre);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(error("YQ== 0\r\nYg== 1\n\n"), "");
  expect_mentions(error(""), {"holds no ranks"});
  expect_mentions(error("YQ== 0\nYg=="), {"r.tiktoken:2", "rank is ''"});
  expect_mentions(error("YQ== 0\nYg== 0"), {"r.tiktoken:2", "rank 0 is there twice"});
  expect_mentions(error("YQ== 0\nYQ== 1"), {"same bytes"});
  expect_mentions(error("Y!== 0"), {"r.tiktoken:1", "base64"});
  expect_mentions(error("Y=Q= 0"), {"base64"});
  expect_mentions(error("YQ== -1"), {"rank is '-1'"});
  expect_mentions(error("YQ== 99999999999"), {"rank is"});
  expect_mentions(error("YQ== 0", "gpt5"), {"gpt5", "accepted", "llama3"});
}

TEST_F(BadTokenizer, GgufMetadataNamesTheKey) {
  const auto error = [](const std::function<void(GgufVocabulary&)>& change,
                        bool sentencepiece = false) -> std::string {
    GgufVocabulary v = sentencepiece ? golden_stories260k() : golden_smollm2();
    change(v);
    try {
      Tokenizer::gguf(v, "m.gguf");
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  expect_mentions(error([](auto& v) { v.tokens.clear(); }), {"m.gguf", "tokenizer.ggml.tokens"});
  expect_mentions(error([](auto& v) { v.token_types.pop_back(); }), {"token_type", "49151", "49152"});
  expect_mentions(error([](auto& v) { v.model = "bert"; }), {"tokenizer.ggml.model", "bert", "accepted"});
  expect_mentions(error([](auto& v) { v.pre = "default"; }), {"tokenizer.ggml.pre", "default", "smollm"});
  expect_mentions(error([](auto& v) { v.merges[3] = "ab"; }), {"merges[3]", "\"ab\""});
  expect_mentions(error([](auto& v) { v.merges[3] = "q zzzzzz"; }), {"merges[3]"});
  expect_mentions(error([](auto& v) { v.bos_id = 49152; }), {"begin-of-sequence", "49152", "49151"});
  expect_mentions(error([](auto& v) { v.eos_ids = {-1}; }), {"end-of-sequence", "-1"});
  expect_mentions(error([](auto& v) { v.pad_id = 1 << 30; }), {"padding id"});
  expect_mentions(error([](auto& v) { v.tokens[2] = "\xFF"; }), {"not valid UTF-8"});
  expect_mentions(error([](auto& v) { v.scores.clear(); }, true), {"scores"});
  expect_mentions(error([](auto& v) { v.scores[300] = NAN; }, true), {"scores[300]", "nan"});
  expect_mentions(error([](auto& v) { v.tokens[300] = "\xC3"; }, true), {"token 300", "UTF-8"});
  expect_mentions(error([](auto& v) { v.unknown_id = 512; }, true), {"unknown id"});
}

// Flips, cuts, doubles and inserts; the same seed gives the same file.
std::string mutated(std::string text, std::mt19937& random) {
  static const std::vector<std::string> pieces = {
      "\"",      "{",  "}",    "[",      "]",  ",", ":",         "null",          "-1", "1e99",
      "\\u0000", "\\", "\xFF", "999999", "\n", " ", "\"Split\"", "\"ByteLevel\"", "(",  "="};
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  for (size_t i = 1 + below(6); i > 0; --i) {
    const size_t at = below(text.size()), length = below(std::min<size_t>(text.size() - at, 40));
    switch (random() % 5) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(at, length));
        break;
      case 3:
        text.insert(at, pieces[below(pieces.size())]);
        break;
      default:
        if (random() % 20 == 0) text.resize(at);
    }
  }
  return text;
}

void use(const Tokenizer& tokenizer) {
  for (const char* text : {"", "The cat, 12 <x> \xF0\x9F\x99\x82 A1b\n\n  end\xFF",
                           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    try {
      tokenizer.decode(tokenizer.encode(text));
    } catch (const Error&) {  // a character vocabulary may lack characters
    }
  }
}

TEST_F(BadTokenizer, MutatedFilesGiveErrorsOrWork) {
  std::mt19937 random(4);
  const std::vector<std::pair<std::string, std::string>> sources = {
      {"tokenizer.json", small_file().dump()},
      {"tokenizer.json",
       json::parse(read_file(golden_dir() / "variants.json"))["variants"].back()["tokenizer"].dump()},
      {"characters.json",
       R"({"type":"characters","characters":"abc123 +=\n","special":["<pad>","<bos>","<eos>"]})"},
  };
  int errors = 0, worked = 0;
  for (int round = 0; round < 750; ++round) {
    const auto& [name, text] = sources[static_cast<size_t>(round) % sources.size()];
    const auto path = write(name, mutated(text, random));
    try {
      use(Tokenizer::load(path));
      ++worked;
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 50);
  EXPECT_GT(worked, 50);
}

TEST_F(BadTokenizer, MutatedRanksGiveErrorsOrWork) {
  std::mt19937 random(5);
  const std::string ranks = read_file(golden_dir() / "gpt2.tiktoken").substr(0, 5000);
  int errors = 0, worked = 0;
  for (int round = 0; round < 400; ++round) {
    const auto path = write("r.tiktoken", mutated(ranks, random));
    try {
      use(Tokenizer::tiktoken(path, "gpt2", {"<x>"}));
      ++worked;
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 50);
  EXPECT_GT(worked, 10);
}

TEST_F(BadTokenizer, MutatedGgufVocabulariesGiveErrorsOrWork) {
  std::mt19937 random(6);
  const GgufVocabulary source = golden_stories260k();
  for (int round = 0; round < 500; ++round) {
    GgufVocabulary v = source;
    if (round % 2) v.model = "gpt2", v.pre = "smollm", v.merges = {"t h", "i n"};
    for (size_t i = random() % 5; i > 0; --i) {
      const size_t at = random() % v.tokens.size();
      switch (random() % 6) {
        case 0:
          v.tokens[at] = mutated(v.tokens[at], random);
          break;
        case 1:
          v.token_types[at] = static_cast<int32_t>(random() % 9) - 1;
          break;
        case 2:
          v.scores[at] = random() % 3 ? static_cast<float>(random()) : INFINITY;
          break;
        case 3:
          v.bos_id = static_cast<int32_t>(random() % 600);
          break;
        case 4:
          v.tokens[at] = v.tokens[random() % v.tokens.size()];
          break;
        default:
          if (!v.merges.empty()) v.merges[0] = mutated(v.merges[0], random);
      }
    }
    try {
      use(Tokenizer::gguf(v));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace r1
