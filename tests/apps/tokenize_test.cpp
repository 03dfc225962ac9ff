// tokenize and detokenize as a script sees them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base64.h"
#include "process.h"
#include "tiny_model.h"

namespace r1::apps {
namespace {

using r1::testing_support::TempFolder;
using testing_support::characters_json;
using testing_support::Conversation;
using testing_support::run_r1;

// Byte-level BPE of 256 bytes, two merges and a control token: any bytes go in.
std::string byte_level_json() {
  nlohmann::json vocab = nlohmann::json::object();
  int next = 0x100, id = 0;
  const auto spelled = [](int code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return std::string{static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  };
  for (int b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    vocab[spelled(itself ? b : next++)] = id++;
  }
  vocab["ab"] = 256;
  vocab["abc"] = 257;
  return nlohmann::json{
      {"added_tokens", {{{"id", 258}, {"content", "<|end|>"}, {"special", true}}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"a b", "ab c"}}}}}
      .dump();
}

TEST(Tokenize, AnswersEachLineAndSkipsBlankOnes) {
  const TempFolder folder;
  folder.write("t/characters.json", characters_json());
  const auto r = run_r1({"tokenize", "--tokenizer", folder / "t"},
                        "{\"text\":\"1+a\"}\n\n  \n{\"text\":\"\"}\n{\"text_base64\":\"MjA=\"}");
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.out, "{\"ids\":[4,13,19]}\n{\"ids\":[]}\n{\"ids\":[5,3]}\n");
  EXPECT_EQ(r.err, "");
}

TEST(Tokenize, ConversesLineByLine) {
  const TempFolder folder;
  folder.write("t/characters.json", characters_json());
  Conversation r1({"tokenize", "--tokenizer", folder / "t"});
  EXPECT_EQ(r1.ask("{\"text\":\"12\"}"), "{\"ids\":[4,5]}");
  EXPECT_EQ(r1.ask("{\"text\":\"7\"}"), "{\"ids\":[10]}");
  EXPECT_EQ(r1.finish(), 0);
}

TEST(Tokenize, SpecialTokensAreAChoice) {
  const TempFolder folder;
  const std::string path = folder.write("tokenizer.json", byte_level_json());
  const std::string line = "{\"text\":\"abc<|end|>\"}\n";
  EXPECT_EQ(run_r1({"tokenize", "--tokenizer", path}, line).out, "{\"ids\":[257,258]}\n");
  const auto spelled = run_r1({"tokenize", "--no-special", "--tokenizer", path}, line).out;
  EXPECT_EQ(nlohmann::json::parse(spelled)["ids"].size(), 8u)
      << spelled;  // abc and the seven bytes of the name
}

TEST(Tokenize, AnyBytesComeBack) {
  const TempFolder folder;
  const std::string path = folder.write("tokenizer.json", byte_level_json());
  std::string bytes;
  for (int b = 0; b < 256; ++b) bytes += static_cast<char>(b);
  const auto ids =
      run_r1({"tokenize", "--tokenizer", path},
             nlohmann::json{{"text_base64", to_base64(bytes)}}.dump() + "\n{\"text\":\"h\\u00e9\"}\n");
  ASSERT_EQ(ids.exit_code, 0) << ids.err;
  const auto back = run_r1({"detokenize", "--tokenizer", path}, ids.out);
  ASSERT_EQ(back.exit_code, 0) << back.err;
  const auto first = nlohmann::json::parse(back.out.substr(0, back.out.find('\n')));
  EXPECT_EQ(from_base64(first["text_base64"].get<std::string>()), bytes);
  const auto second = nlohmann::json::parse(back.out.substr(back.out.find('\n')));
  EXPECT_EQ(second["text"], "h\u00e9");
  EXPECT_FALSE(second.contains("text_base64"));
}

TEST(Detokenize, LeavesControlTokensOutWhenAsked) {
  const TempFolder folder;
  folder.write("t/characters.json", characters_json());
  const std::string line = "{\"ids\":[0,4,1]}\n";
  EXPECT_EQ(run_r1({"detokenize", "--tokenizer", folder / "t"}, line).out, "{\"text\":\"<bos>1<eos>\"}\n");
  EXPECT_EQ(run_r1({"detokenize", "--skip-special", "--tokenizer", folder / "t"}, line).out,
            "{\"text\":\"1\"}\n");
}

TEST(Tokenize, ReadsTiktokenRanks) {
  const std::string ranks = std::string(R1_SOURCE_DIR) + "/tests/golden/tokenizer/gpt2.tiktoken";
  const auto r = run_r1({"tokenize", "--tokenizer", ranks, "--pretokenizer", "gpt2"}, "{\"text\":\"a\"}\n");
  EXPECT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(r.out, "{\"ids\":[64]}\n");
}

TEST(Base64, KnownPairsOfRfc4648) {
  const std::pair<const char*, const char*> kPairs[] = {{"", ""},
                                                        {"f", "Zg=="},
                                                        {"fo", "Zm8="},
                                                        {"foo", "Zm9v"},
                                                        {"foob", "Zm9vYg=="},
                                                        {"fooba", "Zm9vYmE="},
                                                        {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : kPairs) {
    EXPECT_EQ(to_base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, RefusesWhatItWouldNotWrite) {
  for (const char* text : {"Zg", "Zg=", "Zh==", "Zg==Zg==", "Zm 8=", "=", "Zm9v=", "Z", "Zm9\xC3"}) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
}

}  // namespace
}  // namespace r1::apps
