#include "r1/report/text_signs.h"

#include <gtest/gtest.h>

namespace r1::report {
namespace {

TEST(ReflectiveWords, CountsWholeWordsInAnyCase) {
  EXPECT_EQ(count_reflective_words("Wait, wait. That is WRONG; however, let me check: but why?"), 6);
  EXPECT_EQ(count_reflective_words("wait"), 1);
  EXPECT_EQ(count_reflective_words(""), 0);
}

TEST(ReflectiveWords, PartsOfWordsDoNotCount) {
  EXPECT_EQ(count_reflective_words("waiting await checked butter wrongly errors re_check check2"), 0);
  EXPECT_EQ(count_reflective_words("double-check \xE7\xAD\x89"
                                   "wait\xE7\xAD\x89 (but)"),
            3);
}

TEST(ReflectiveWords, MoreWordsAreMarkedButNotCounted) {
  for (const auto& word : more_reflective_words()) {
    if (word != "double-check") {
      EXPECT_EQ(count_reflective_words(word), 0) << word;
    }
  }
  EXPECT_EQ(paper_reflective_words().size(), 10U);
}

TEST(RepeatedShare, OfTextsWorkedOutByHand) {
  EXPECT_EQ(repeated_share(""), 0);
  EXPECT_EQ(repeated_share("a b c"), 0);
  EXPECT_EQ(repeated_share("a b c d e"), 0);
  EXPECT_DOUBLE_EQ(repeated_share("a b a b a b a b"), 3.0 / 5);  // 5 4-grams, abab and baba
  EXPECT_DOUBLE_EQ(repeated_share("1111111"),
                   3.0 / 4);  // digits stand alone: 4 4-grams, one of them distinct
  EXPECT_DOUBLE_EQ(repeated_share("1 111 \n11 1"), 3.0 / 4);
}

TEST(RepeatedShare, TellsACircleFromWorkedSteps) {
  std::string circle, steps;
  for (int i = 0; i < 40; ++i) circle += "so the answer is 12 ";
  for (int i = 0; i < 40; ++i)
    steps += std::to_string(i * 37 % 91) + "+" + std::to_string(i * 53 % 97) + "=" +
             std::to_string(i * 37 % 91 + i * 53 % 97) + " ";
  EXPECT_GT(repeated_share(circle), 0.9);
  EXPECT_LT(repeated_share(steps), 0.2);
}

TEST(RepeatedShare, TakesAnyBytes) {
  EXPECT_GE(repeated_share(std::string("\xFF\xFE\x80\x80\x80\xC3", 6)), 0);
  EXPECT_DOUBLE_EQ(repeated_share("\xE5\xA5\xBD\xE5\xA5\xBD\xE5\xA5\xBD\xE5\xA5\xBD\xE5\xA5\xBD"),
                   0.5);  // five times one character: 2 4-grams
}

}  // namespace
}  // namespace r1::report
