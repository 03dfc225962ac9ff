// Byte-level BPE by hand, against a plain implementation, and its properties on bytes that are no text.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"
#include "tokenizer/golden_vocabulary.h"

namespace r1 {
namespace {

using Ids = std::vector<int32_t>;

// All 256 bytes in the byte-level alphabet (ids 0-255), then what `merges` make, then control tokens.
GgufVocabulary byte_vocabulary(const std::vector<std::string>& merges,
                               const std::vector<std::string>& control = {}) {
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = "gpt2";
  int next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const int code = itself ? b : next++;
    v.tokens.push_back(code < 0x80 ? std::string(1, static_cast<char>(code))
                                   : std::string{static_cast<char>(0xC0 | code >> 6),
                                                 static_cast<char>(0x80 | (code & 63))});
  }
  v.merges = merges;
  for (auto merge : merges) {
    merge.erase(merge.find(' '), 1);
    v.tokens.push_back(merge);
  }
  v.token_types.assign(v.tokens.size(), 1);
  for (const auto& name : control) {
    v.tokens.push_back(name);
    v.token_types.push_back(3);
  }
  return v;
}

TEST(ByteBpe, MergesByRankThenLeftmost) {
  const auto t = Tokenizer::gguf(byte_vocabulary({"a b", "b c", "ab c", "a a"}));
  EXPECT_EQ(t.encode("abc"), (Ids{258}));  // ab first, then abc
  EXPECT_EQ(t.encode("bcab"), (Ids{257, 256}));
  EXPECT_EQ(t.encode("aaa"), (Ids{259, 'a'}));  // leftmost of equal ranks
  EXPECT_EQ(t.encode("aab"), (Ids{'a', 256}));  // the better rank before the leftmost
  EXPECT_EQ(t.encode("xyz"), (Ids{'x', 'y', 'z'}));
  EXPECT_EQ(t.decode(Ids{258, ' ', 257}), "abc bc");
  EXPECT_EQ(t.decode_token(' '), " ");
  EXPECT_TRUE(t.covers_all_bytes());
}

TEST(ByteBpe, ManyMergesEqualThePlainLoop) {
  std::mt19937 random(1);
  std::vector<std::string> merges, pieces = {"a", "b", "c", "d"};
  std::map<std::pair<std::string, std::string>, size_t> ranks;
  std::map<std::string, int32_t> ids = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}, {"d", 'd'}};
  while (merges.size() < 150) {
    const auto left = pieces[random() % pieces.size()], right = pieces[random() % pieces.size()];
    if (left.size() + right.size() > 12 || ids.count(left + right)) continue;
    ranks[{left, right}] = merges.size();
    ids[left + right] = static_cast<int32_t>(256 + merges.size());
    merges.push_back(left + " " + right);
    pieces.push_back(left + right);
  }
  const auto tokenizer = Tokenizer::gguf(byte_vocabulary(merges));
  for (int round = 0; round < 3000; ++round) {
    std::string word(1 + random() % (round % 3 == 0 ? 300 : 45), 'a');  // both sides of the short-word limit
    const unsigned letters = 1 + random() % 4;
    for (auto& c : word) c = static_cast<char>('a' + random() % letters);
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    while (true) {
      size_t best = merges.size(), at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto rule = ranks.find({symbols[i], symbols[i + 1]});
        if (rule != ranks.end() && rule->second < best) best = rule->second, at = i;
      }
      if (best == merges.size()) break;
      symbols[at] += symbols[at + 1];
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
    Ids expected;
    for (const auto& s : symbols) expected.push_back(ids.at(s));
    ASSERT_EQ(tokenizer.encode(word), expected) << word;
  }
}

TEST(ByteBpe, RandomBytesComeBack) {
  const auto gpt2 = golden_gpt2(), llama3 = golden_llama3();
  const auto deepseek = Tokenizer::load(golden_dir() / "deepseek-v3.json");
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 60, '\0');
    for (auto& b : bytes) b = static_cast<char>(round % 2 ? random() : 0xC0 + random() % 0x40);
    if (round % 3 == 0) bytes.insert(bytes.size() / 2, "text 漢字 <|endoftext|> 12");
    for (const auto* t : {&gpt2, &llama3, &deepseek}) {
      ASSERT_EQ(t->decode(t->encode(bytes)), bytes);
      ASSERT_EQ(t->decode(t->encode(bytes, {.parse_special = false})), bytes);
    }
  }
}

TEST(ByteBpe, EveryByteAndEveryCharacterComesBack) {
  const auto t = golden_gpt2();
  for (int b = 0; b < 256; ++b) {
    const std::string one(1, static_cast<char>(b));
    EXPECT_EQ(t.decode(t.encode(one)), one) << b;
    EXPECT_EQ(t.decode(t.encode("a" + one + "b")), "a" + one + "b") << b;
  }
  EXPECT_EQ(t.decode(t.encode(std::string("\0\0", 2))), std::string("\0\0", 2));
  for (const char* bad :
       {"\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\x80", "\xE2\x82", "\xF0\x9F\x98", "\x80", "\xFE\xFF"})
    EXPECT_EQ(t.decode(t.encode(bad)), bad);
}

TEST(ByteBpe, LongRunsNeedNoMoreThanLinearTime) {
  const auto tokenizer = golden_llama3();
  for (const std::string unit : {"a", " ", "\n", "\t", "=", "1", "漢", "ab", " \n", "\xFF"}) {
    std::string text;
    while (text.size() < 300'000) text += unit;
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << unit;
  }
}

TEST(ByteBpe, ControlTokensAreReadOnlyWhereAsked) {
  const auto t = Tokenizer::gguf(byte_vocabulary({}, {"<|e|>", "<|e|><|e|>", "<|x|>"}));
  EXPECT_EQ(t.encode("a<|e|>b"), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(t.encode("<|e|><|e|><|e|>"), (Ids{257, 256}));  // the longest
  EXPECT_EQ(t.encode("<|x|>", {.parse_special = false}), (Ids{'<', '|', 'x', '|', '>'}));
  EXPECT_EQ(t.decode(Ids{'a', 258}), "a<|x|>");
  EXPECT_EQ(t.decode(Ids{'a', 258}, {.skip_special = true}), "a");
  EXPECT_TRUE(t.is_special(256));
  EXPECT_EQ(t.token_id("<|x|>"), 258);
}

TEST(ByteBpe, AddSpecialPutsWhatTheVocabularyAsksFor) {
  GgufVocabulary v = byte_vocabulary({}, {"<s>", "</s>"});
  v.bos_id = 256;
  v.eos_ids = {257, 257};
  EXPECT_EQ(Tokenizer::gguf(v).encode("a", {.add_special = true}), (Ids{'a'}));
  v.add_bos = v.add_eos = true;
  const auto t = Tokenizer::gguf(v);
  EXPECT_TRUE(t.add_bos() && t.add_eos());
  EXPECT_EQ(t.encode("a", {.add_special = true}), (Ids{256, 'a', 257}));
  EXPECT_EQ(t.encode("a"), (Ids{'a'}));
  EXPECT_EQ(t.eos_ids(), (Ids{257}));
}

TEST(ByteBpe, BytesWithoutATokenAreLeftOutOrNamed) {
  const auto t = Tokenizer::gguf(golden_smollm2());
  EXPECT_EQ(t.decode(t.encode("a\x04.")), "a.");  // SmolLM2 has no token for byte 4
  try {
    t.encode("ab<|im_end|>\x04", {.strict = true});
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("byte 4 at offset 12"), std::string::npos) << e.what();
  }
  EXPECT_EQ(t.encode("plain", {.strict = true}), t.encode("plain"));
}

TEST(ByteBpe, ThreadsShareOneTokenizer) {
  const auto tokenizer = golden_llama3();
  std::vector<std::string> texts;
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    texts.emplace_back(50, ' ');
    for (auto& c : texts.back()) c = static_cast<char>(32 + random() % 95);
  }
  std::vector<Ids> expected;
  for (const auto& text : texts) expected.push_back(tokenizer.encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t k = 0; k < wrong.size(); ++k)
    threads.emplace_back([&, k] {
      for (int pass = 0; pass < 5; ++pass)
        for (size_t i = 0; i < texts.size(); ++i) wrong[k] += tokenizer.encode(texts[i]) != expected[i];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(ByteBpe, HashChangesWithWhatDecidesIds) {
  const auto base = byte_vocabulary({"a b", "b c"}, {"<e>"});
  auto merges = base, tokens = base, pre = base, control = base, irrelevant = base;
  std::swap(merges.merges[0], merges.merges[1]);
  std::swap(tokens.tokens['x'], tokens.tokens['y']);
  pre.pre = "llama3";
  control.token_types.back() = 4;
  irrelevant.chat_template = "x";
  const auto hash = Tokenizer::gguf(base).hash();
  EXPECT_EQ(hash.size(), 32u);
  EXPECT_EQ(Tokenizer::gguf(irrelevant, "elsewhere").hash(), hash);
  for (const auto* v : {&merges, &tokens, &pre, &control}) EXPECT_NE(Tokenizer::gguf(*v).hash(), hash);
}

TEST(Chat, ChatMlWithTheTemplatesOwnSystemMessage) {
  const auto t = Tokenizer::gguf(golden_smollm2());
  EXPECT_EQ(
      apply_chat_template(t, {{"user", "12 + 7?"}}),
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
      "<|im_start|>user\n12 + 7?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(apply_chat_template(t, {{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Yes"}}, false),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nYes<|im_end|>\n");
  EXPECT_THROW(apply_chat_template(golden_gpt2(), {{"user", "Hi"}}), Error);
  auto escaped =
      golden_smollm2();  // the same with "\n" written as an escape, and quotes around an expression
  escaped.chat_template =
      R"({{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{{ '<|im_start|>system\nQ.<|im_end|>\n' }})";
  EXPECT_EQ(apply_chat_template(Tokenizer::gguf(escaped), {{"user", "A"}}, false),
            "<|im_start|>system\nQ.<|im_end|>\n<|im_start|>user\nA<|im_end|>\n");
}

}  // namespace
}  // namespace r1
