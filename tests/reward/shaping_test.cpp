// Repetition and length.
#include <gtest/gtest.h>

#include <string>

#include "r1/reward/length.h"
#include "r1/reward/repetition.h"

namespace r1 {
namespace {

TEST(Repetition, ShareOfNgramsThatAreNotNew) {
  EXPECT_EQ(repetition_share("", 2), 0);
  EXPECT_EQ(repetition_share("one two", 2), 0);
  EXPECT_EQ(repetition_share("one two three four", 2), 0);
  // a b a b a b: 5 bigrams, 2 distinct.
  EXPECT_EQ(repetition_share("a b a b a b", 2), 1 - 2.0 / 5);
  EXPECT_EQ(repetition_share("A b\ta B a b", 2), 1 - 2.0 / 5) << "white space and case do not count";
  EXPECT_EQ(repetition_share("a b a b a b", 6), 0);
  EXPECT_EQ(repetition_share("x x x x", 1), 1 - 1.0 / 4);
  // Chinese: characters. 对对对 has 2 bigrams, 1 distinct.
  EXPECT_EQ(repetition_share("对对对", 2), 0.5);
  EXPECT_EQ(repetition_share("再想想再想想", 3), 1 - 3.0 / 4);
}

TEST(Repetition, ALoopIsNearlyOneAndProseNearlyNothing) {
  std::string loop, prose;
  for (int i = 0; i < 200; ++i) loop += "so the answer is 12 and we check again ";
  for (int i = 0; i < 200; ++i)
    prose += "the number " + std::to_string(i) + " is followed by " + std::to_string(i + 1) + " ";
  EXPECT_GT(repetition_share(loop, 8), 0.99);
  EXPECT_EQ(repetition_share(prose, 8), 0);
}

TEST(Repetition, AnyBytes) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += char(i);
  EXPECT_EQ(repetition_share(bytes, 3), 0);
  EXPECT_GE(repetition_share(bytes + bytes, 1), 0);
}

LengthConfig hundred() {
  LengthConfig config;
  config.max_characters = 100;
  config.right_short = 2;
  config.right_long = 1;
  config.wrong_short = -10;
  config.wrong_long = 0;
  return config;
}

/// The paper's values: right answers from 2 to 1, wrong ones from -10 to 0.
TEST(Length, CosineBetweenItsEnds) {
  const auto value = [](size_t characters, bool right) {
    return length_value(std::string(characters, 'x'), right, hundred());
  };
  EXPECT_DOUBLE_EQ(value(0, true), 2);
  EXPECT_DOUBLE_EQ(value(50, true), 1.5);
  EXPECT_DOUBLE_EQ(value(100, true), 1);
  EXPECT_DOUBLE_EQ(value(1000, true), 1);
  EXPECT_DOUBLE_EQ(value(0, false), -10);
  EXPECT_NEAR(value(25, false), -10 + 10 * (1 - 0.70710678118654752) / 2, 1e-12);
  EXPECT_NEAR(value(100, false), 0, 1e-12);
  EXPECT_GT(value(10, true), value(20, true));
  EXPECT_LT(value(10, false), value(20, false));
}

TEST(Length, CountsCharactersNotBytes) {
  EXPECT_DOUBLE_EQ(length_value("五十五十", true, hundred()), length_value("abcd", true, hundred()));
}

}  // namespace
}  // namespace r1
