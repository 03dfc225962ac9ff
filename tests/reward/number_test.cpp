#include "r1/reward/number.h"

#include <gtest/gtest.h>

#include <vector>

namespace r1 {
namespace {

struct Case {
  std::string text, canonical;  // "" : no number
};

TEST(CanonicalNumber, ReadsTheFormsThatPeopleWrite) {
  const std::vector<Case> cases = {
      {"18", "18"},
      {" +18. ", "18"},
      {"-0", "0"},
      {"007", "7"},
      {"18.0", "18"},
      {".5", "1/2"},
      {"0.125", "1/8"},
      {"-2.50", "-5/2"},
      {"1,234", "1234"},
      {"1,234,567.25", "4938269/4"},
      {"22{,}500", "22500"},
      {"$1,000", "1000"},
      {"-$5", "-5"},
      {"$-5", "-5"},
      {"\\$12.50", "25/2"},
      {"$\\frac{3}{4}$", "3/4"},
      {"3/4", "3/4"},
      {"-6 / 8", "-3/4"},
      {"\\dfrac{6}{8}", "3/4"},
      {"-\\frac{45}{2}", "-45/2"},
      {"\\frac{-45}{2}", "-45/2"},
      {"\\frac12", "1/2"},
      {"\\frac1{72}", "1/72"},
      {"3\\frac{1}{2}", "7/2"},
      {"3 1/2", "7/2"},
      {"-1\\tfrac12", "-3/2"},
      {"64\\%", "64"},
      {"18%", "18"},
      {"35^\\circ", "35"},
      {"35^{\\circ}", "35"},
      {"35\xC2\xB0", "35"},
      {"90 degrees", "90"},
      {"\xE2\x88\x92"
       "7",
       "-7"},
      {"5 \\text{ cm}", "5"},
      {"5\\text{cm}^2", "5"},
      {"18 dollars.", "18"},
      {"5 miles per hour", "5"},
      {"\\boxed{42}", "42"},
      {"\\(42\\)", "42"},
      {"x = 5", "5"},
      {"123456789012345678901234567890", "123456789012345678901234567890"},
      {"0.1000000000000000000000000000001",
       "1000000000000000000000000000001/10000000000000000000000000000000"},
  };
  for (const auto& [text, canonical] : cases)
    EXPECT_EQ(canonical_number(text).value_or("none"), canonical) << text;
}

TEST(CanonicalNumber, LeavesEverythingElseAlone) {
  for (const std::string text :
       {"",      " ",         "-",           ".",         "$",      "%",       "abc",          "1,2",
        "12,34", "1234,567",  "0,123",       "1,2345",    "8,12",   "1/0",     "\\frac{1}{0}", "\\frac{1}",
        "6z",    "6 z",       "2x",          "2 million", "3 or 4", "3 and 4", "2 pi",         "1e5",
        "1.2.3", "--5",       "5-3",         "1+1",       "2^3",    "2\\pi",   "two",          "5 dozen",
        "1/2/3", "x + y = 0", "10\\sqrt{2}", "\\sqrt{4}", "3:4",    "5 3"}) {
    EXPECT_EQ(canonical_number(text).value_or("none"), "none") << text;
  }
}

TEST(CanonicalNumber, HasADigitLimit) {
  EXPECT_EQ(canonical_number(std::string(10'000, '7')), std::string(10'000, '7'));
  EXPECT_FALSE(canonical_number(std::string(10'001, '7')));
}

TEST(LastNumber, IsTheOneThatStandsLast) {
  const std::vector<Case> cases = {
      {"first 3, then 4.", "4"},
      {"in all $1,234.", "1,234"},
      {"it is -5", "-5"},
      {"it is -$5 now", "-5"},
      {"10-3", "3"},
      {"x-3", "3"},
      {"(2)-3", "3"},
      {"so \\frac{3}{4} of it", "\\frac{3}{4}"},
      {"half is 1/2!", "1/2"},
      {"1,2,3", "3"},
      {"1,234,5", "5"},
      {"version 1.5.", "1.5"},
      {"\xE2\x88\x92"
       "8",
       "-8"},
      {"\\frac{7", "7"},
  };
  for (const auto& [text, number] : cases) EXPECT_EQ(last_number(text).value_or("none"), number) << text;
  EXPECT_FALSE(last_number("no digits, - . $ \\frac"));
  EXPECT_FALSE(last_number(""));
}

}  // namespace
}  // namespace r1
