#include "r1/data/identity.h"

#include <gtest/gtest.h>

#include "identity_examples.h"
#include "r1/util/error.h"
#include "temp_file.h"

namespace r1 {
namespace {

TEST(Identity, FindsEveryClaimOfTheTable) {
  const IdentityFilter filter;
  ASSERT_GE(identity_claims().size(), 60u);
  for (const char* text : identity_claims()) EXPECT_TRUE(filter.find(text).has_value()) << text;
}

TEST(Identity, TakesNoMentionForAClaim) {
  const IdentityFilter filter;
  ASSERT_GE(identity_mentions().size(), 60u);
  for (const char* text : identity_mentions()) {
    const auto claim = filter.find(text);
    EXPECT_FALSE(claim.has_value()) << text << "\n  rule " << claim->rule << ", who " << claim->who << ": "
                                    << claim->text;
  }
}

TEST(Identity, TheTableHoldsInsideALongText) {
  const IdentityFilter filter;
  std::string filler;
  for (int i = 0; i < 200; ++i) filler += "Apples and pears are fruit, and Google has offices.\n";
  for (const char* text : identity_claims()) {
    const auto claim = filter.find(filler + text + "\n" + filler);
    ASSERT_TRUE(claim.has_value()) << text;
    EXPECT_GE(claim->offset, filler.size()) << text;
  }
  for (const char* text : identity_mentions())
    EXPECT_FALSE(filter.find(filler + text + "\n" + filler).has_value()) << text;
  EXPECT_FALSE(filter.find(filler).has_value());
}

TEST(Identity, SaysWhatAndWhere) {
  const auto claim = IdentityFilter().find("Hello. As an AI made by OpenAI, I refuse.");
  ASSERT_TRUE(claim.has_value());
  EXPECT_EQ(claim->rule, "as");
  EXPECT_EQ(claim->who, "OpenAI");
  EXPECT_EQ(claim->offset, 7u);
  EXPECT_HAS(claim->text, "As an AI made by OpenAI");
}

TEST(Identity, OwnNamesAreNoOthers) {
  const IdentityFilter filter({"DeepSeek", "深度求索"});
  EXPECT_FALSE(filter.find("I am DeepSeek-R1, made by DeepSeek.").has_value());
  EXPECT_FALSE(filter.find("我的开发者是深度求索公司。").has_value());
  EXPECT_TRUE(filter.find("I am DeepSeek-R1. I was made by OpenAI.").has_value());
  EXPECT_THROW(IdentityFilter({"..."}), Error);
}

TEST(Identity, AnyBytes) {
  const IdentityFilter filter;
  EXPECT_TRUE(filter.find("\xFF\xFE I am ChatGPT. \xC3").has_value());
  EXPECT_TRUE(filter.find(std::string("\0\0", 2) + "I am ChatGPT.").has_value());
  EXPECT_FALSE(filter.find("").has_value());
  std::string noise;
  uint64_t state = 1;
  for (int i = 0; i < 200'000; ++i)
    noise += static_cast<char>((state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 56);
  EXPECT_FALSE(filter.find(noise).has_value());
  std::string repeated;
  for (int i = 0; i < 20'000; ++i) repeated += "I am a large large language language openai ";
  EXPECT_FALSE(filter.find(repeated).has_value());
}

}  // namespace
}  // namespace r1
