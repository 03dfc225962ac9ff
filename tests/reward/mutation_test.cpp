// Whatever a model writes, scoring ends, throws nothing and gives the same numbers again.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "r1/reward/number.h"
#include "r1/reward/reward.h"
#include "r1/util/progress.h"
#include "r1/util/random.h"

namespace r1 {
namespace {

Reward all_kinds() {
  std::string parts;
  for (const char* extractor : {"answer_tag", "boxed", "hashes", "last_number", "first_line"}) {
    parts += std::string("    e_") + extractor + ": {kind: exact_answer, extract: " + extractor + "}\n";
    parts += std::string("    c_") + extractor + ": {kind: countdown, extract: " + extractor + "}\n";
  }
  parts += "    format: {kind: format}\n";
  return Reward(RewardConfig::parse(ConfigNode::parse_text("parts:\n" + parts, "mutation")));
}

class Draws {
 public:
  uint64_t below(uint64_t n) {
    return draw_below({.seed = 7, .stream = Stream::kTest, .position = next_++}, n);
  }

 private:
  uint32_t next_ = 0;
};

TEST(RewardMutation, AnyBytesGiveAScore) {
  const Reward reward = all_kinds();
  const std::vector<std::string> seeds = {
      "<think> 7+5=12 4+8+1=13 </think> <answer> 132 </answer>",
      "so \\boxed{\\frac{1,234.5}{-6}} and \\text{5 cm}^2 \\% $-3 1/2$",
      "#### 1,234,567.890\n<answer>(25-5)*4 = 80</answer>",
      "8/(3-8/3) \xC3\x97 \xE2\x88\x92 \\times \\frac12 {,} ^{\\circ} <think></think></think><think>",
  };
  const std::vector<std::string> pieces = {
      "<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "{",  "####",    "\\frac{", "(",
      ")",       "-",        "1",        ",000",      "/0",       ".", "\n", "\\text{", "=",       "\\"};
  const nlohmann::json task = {{"numbers", {3, 3, 8, 8}}, {"target", 24}};
  Draws draws;
  for (int round = 0; round < 8'000; ++round) {
    std::string text = seeds[draws.below(seeds.size())];
    for (uint64_t edits = 1 + draws.below(12); edits > 0; --edits) {
      const size_t at = draws.below(text.size() + 1);
      switch (draws.below(4)) {
        case 0:
          if (at < text.size()) text[at] = static_cast<char>(draws.below(256));
          break;
        case 1:
          text.erase(at, draws.below(8));
          break;
        case 2:
          text.insert(at, pieces[draws.below(pieces.size())]);
          break;
        default:
          text.insert(at, text.substr(at / 2, draws.below(30)));
      }
    }
    Score score, again;
    ASSERT_NO_THROW(score = reward.score({"", text, round % 2 ? "132" : text, task})) << round;
    ASSERT_NO_THROW(again = reward.score({"", text, round % 2 ? "132" : text, task})) << round;
    ASSERT_EQ(score.parts.size(), 11u);
    for (size_t part = 0; part < score.parts.size(); ++part) {
      const double value = score.parts[part].second, value_again = again.parts[part].second;
      ASSERT_TRUE(value == 0 || value == 1 || std::isnan(value));
      ASSERT_TRUE(value == value_again || (std::isnan(value) && std::isnan(value_again)));
    }
    ASSERT_EQ(score.extracted, again.extracted);
  }
}

TEST(RewardMutation, LongHostileTextsStayLinear) {
  const Reward reward = all_kinds();
  const nlohmann::json task = {{"numbers", {3, 3, 8, 8}}, {"target", 24}};
  constexpr int kRepeats = 30'000;  // 6 s and more where anything is quadratic
  for (const std::string piece :
       {"\\boxed{", "<answer>", "</answer>", "<think>", "</think>", "<",          "{",
        "}",        "1,234,",   "9",         "1/",      "\\frac{1", "\\frac{1}{", "####",
        "-",        "(",        "5 ",        "\\text{", " ",        ",234",       "\n"}) {
    std::string text;
    for (int i = 0; i < kRepeats; ++i) text += piece;
    const double start_s = monotonic_s();
    ASSERT_NO_THROW(reward.score({"", text, text, task}));
    ASSERT_NO_THROW(reward.score({"", "<answer>" + text + "5</answer>", "1", task}));
    EXPECT_LT(monotonic_s() - start_s, 4.0) << piece;
  }
}

}  // namespace
}  // namespace r1
