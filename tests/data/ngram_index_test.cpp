#include "r1/data/ngram_index.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "r1/util/error.h"
#include "temp_file.h"

namespace r1 {
namespace {

const EvalText kWhere{"eval.jsonl", 3, "q3", "question", "line"};
constexpr const char* kQuestion =
    "Tom has 3 red apples and 4 green apples in his basket. How many apples does Tom have?";

NgramIndex index_of(const std::string& text, int64_t n = 10, bool is_question = true) {
  NgramIndex index(n);
  index.add(kWhere, text, is_question);
  return index;
}

TEST(NgramIndex, TenWordsInARowAreAMatchAndNineAreNot) {
  const auto index = index_of(kQuestion);
  const auto match = index.find("Once upon a time: red apples and 4 green apples in his basket. How odd.");
  ASSERT_TRUE(match.has_value());
  EXPECT_EQ(match->ngram, "red apples and 4 green apples in his basket how");
  EXPECT_EQ(match->where->file, "eval.jsonl");
  EXPECT_EQ(match->where->row, 3);
  EXPECT_EQ(match->where->id, "q3");
  EXPECT_EQ(match->where->part, "question");
  EXPECT_FALSE(index.find("Once upon a time: red apples and 4 green apples in his basket.").has_value());
  EXPECT_FALSE(index.find("red apples and 5 green apples in his basket how many").has_value());
  EXPECT_TRUE(index.find(kQuestion).has_value());
  EXPECT_FALSE(index.find("").has_value());
}

TEST(NgramIndex, SignsSpacesAndCaseOnlySeparate) {
  const auto index = index_of(kQuestion);
  EXPECT_TRUE(index.find("RED APPLES -- and 4 green\n\napples, in (his) *basket*! How?").has_value());
  EXPECT_TRUE(
      index
          .find("\xEF\xBC\xB2\xEF\xBC\xA5\xEF\xBC\xA4 apples and \xEF\xBC\x94 green apples in his basket how")
          .has_value());  // full-width
  EXPECT_FALSE(index.find("redapples and 4 green apples in his basket. How").has_value());
  const auto maths = index_of("Let $f(x) = \\frac{1}{2}x^2 + 3x - 7$. Find f(4) and f(5).", 10);
  EXPECT_TRUE(maths.find("f(x)=\\dfrac{1}{2} x^2+3x-7: find f(4) and f(5)").has_value());
  const auto accents = index_of("Der Müller ÄRGERT sich über die Größe seiner elf Öfen im Haus", 10);
  EXPECT_TRUE(accents.find("der müller ärgert sich über die größe seiner elf öfen").has_value());
}

TEST(NgramIndex, EachHanCharacterIsAWord) {
  const auto index = index_of("小明有5个苹果，给了小红2个，还剩几个？");
  EXPECT_TRUE(index.find("题目：苹果，给了小红2个，还剩几个").has_value());
  EXPECT_FALSE(index.find("他给了小红2个，还剩").has_value());  // 8 words of it
}

TEST(NgramIndex, ShortQuestionsMatchWholeAndShortSolutionsNot) {
  const auto index = index_of("What is $\\sqrt{16}$?");  // what is sqrt 16
  ASSERT_TRUE(index.find("Q: what is sqrt(16)? A: 4").has_value());
  EXPECT_EQ(index.find("Q: what is sqrt(16)? A: 4")->ngram, "what is sqrt 16");
  EXPECT_FALSE(index.find("what is sqrt(17)").has_value());
  EXPECT_FALSE(index.find("what is sqrt").has_value());
  EXPECT_EQ(index.num_short(), 1);
  const auto answer = index_of("x = 3 or y = 4", 10, false);
  EXPECT_EQ(answer.num_skipped(), 1);
  EXPECT_FALSE(answer.find("so x = 3 or y = 4").has_value());
  EXPECT_EQ(index_of("Find x").num_skipped(), 1);
  // Two short questions with the same beginning.
  NgramIndex both(10);
  both.add(kWhere, "What is the sum?", true);
  both.add(kWhere, "What is the product of them?", true);
  EXPECT_TRUE(both.find("what is the sum").has_value());
  EXPECT_TRUE(both.find("tell me what is the product of them").has_value());
  EXPECT_FALSE(both.find("what is the difference").has_value());
}

TEST(NgramIndex, AnyBytesAndLongTexts) {
  const auto index = index_of(kQuestion);
  EXPECT_TRUE(
      index.find("\xFF\xC3 red apples and 4 green apples\xE4\xB8 in his basket how \xF0\x9F").has_value());
  const auto invalid = index_of(
      "a\xFF"
      "b c d e f g h i j k");  // the byte separates
  EXPECT_TRUE(invalid.find("a b c d e f g h i j").has_value());
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "word" + std::to_string(i) + " ";
  EXPECT_FALSE(index.find(text).has_value());
  EXPECT_TRUE(index.find(text + kQuestion).has_value());
}

TEST(NgramIndex, AgreesWithAPlainSetOfStrings) {
  // Random texts over few words, so that n-grams recur.
  uint64_t state = 7;
  const auto random_text = [&](int words) {
    std::string text;
    for (int i = 0; i < words; ++i)
      text +=
          std::string(1, static_cast<char>('a' + (state = state * 6364136223846793005ULL + 1) % 997 % 3)) +
          " ";
    return text;
  };
  const auto ngrams = [](const std::string& text, size_t n) {
    std::vector<std::string> words;
    std::istringstream in(text);
    for (std::string word; in >> word;) words.push_back(word);
    std::vector<std::string> out;
    for (size_t i = 0; i + n <= words.size(); ++i) {
      std::string gram;
      for (size_t k = 0; k < n; ++k) gram += (k ? " " : "") + words[i + k];
      out.push_back(gram);
    }
    return out;
  };
  NgramIndex index(8);
  std::set<std::string> plain;
  for (int i = 0; i < 50; ++i) {
    const auto text = random_text(30);
    index.add(kWhere, text, false);
    for (const auto& gram : ngrams(text, 8)) plain.insert(gram);
  }
  EXPECT_EQ(index.num_ngrams(), static_cast<int64_t>(plain.size()));
  int found = 0;
  for (int i = 0; i < 300; ++i) {
    const auto text = random_text(12);
    std::string expected;
    for (const auto& gram : ngrams(text, 8)) {
      if (expected.empty() && plain.contains(gram)) expected = gram;
    }
    const auto match = index.find(text);
    EXPECT_EQ(match ? match->ngram : "", expected);
    found += match ? 1 : 0;
  }
  EXPECT_GT(found, 20);
  EXPECT_LT(found, 280);
}

TEST(NgramIndex, RefusesShortNgrams) {
  EXPECT_THROW(NgramIndex(3), Error);
  EXPECT_THROW(NgramIndex(101), Error);
}

}  // namespace
}  // namespace r1
