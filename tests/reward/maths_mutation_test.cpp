// Whatever a model writes, the maths verifier ends in time, throws nothing and says the same again.
// R1_MATHS_MUTATIONS=1000000 runs as many mutated pairs (a minute); the default is a short run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "r1/reward/maths.h"
#include "r1/util/jsonl.h"
#include "r1/util/random.h"

namespace r1 {
namespace {

class Draws {
 public:
  uint64_t below(uint64_t n) {
    return draw_below({.seed = 11, .stream = Stream::kTest, .position = next_++}, n);
  }

 private:
  uint32_t next_ = 0;
};

std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  read_jsonl(std::string(R1_SOURCE_DIR) + "/tests/golden/maths/pairs.jsonl",
             [&](int64_t, const nlohmann::json& row) {
               if (!row.contains("gold")) return;
               for (const char* key : {"gold", "answer"}) texts.push_back(row[key]);
             });
  return texts;
}

const std::vector<std::string> kPieces = {"\\frac{",
                                          "}{",
                                          "}",
                                          "{",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "\\{",
                                          "\\}",
                                          "^",
                                          "_",
                                          "|",
                                          "\\sqrt{",
                                          "\\pi",
                                          "\\pm",
                                          "e",
                                          "i",
                                          "x",
                                          "9^9",
                                          "9^{9",
                                          "!",
                                          "%",
                                          "^\\circ",
                                          ",",
                                          ";",
                                          "=",
                                          "<",
                                          "\\le",
                                          "\\cup",
                                          "\\infty",
                                          "\\sin ",
                                          "\\log_",
                                          "\\text{",
                                          "\\begin{pmatrix}",
                                          "\\end{pmatrix}",
                                          "&",
                                          "\\\\",
                                          "1e9",
                                          "\\overline{3}",
                                          ".",
                                          "0",
                                          "-",
                                          "/",
                                          "\\binom{",
                                          "f(",
                                          "\\left(",
                                          "\\right)",
                                          "\xE2\x88\x9A",
                                          "\xFF",
                                          " and ",
                                          "cm",
                                          "\\mathbb{R}",
                                          "\\setminus "};

std::string mutated(std::string text, const std::vector<std::string>& texts, Draws& draws) {
  for (uint64_t edits = draws.below(6); edits > 0; --edits) {
    const size_t at = draws.below(text.size() + 1);
    switch (draws.below(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(draws.below(256));
        break;
      case 1:
        text.erase(at, draws.below(8));
        break;
      case 2:
        text.insert(at, text.substr(at / 2, draws.below(30)));
        break;
      case 3:
        text.insert(at, texts[draws.below(texts.size())]);
        break;
      default:
        text.insert(at, kPieces[draws.below(kPieces.size())]);
    }
  }
  return text;
}

TEST(MathsMutation, AnyTextEndsInTime) {
  const char* wanted = std::getenv("R1_MATHS_MUTATIONS");
  const int64_t rounds = wanted != nullptr ? std::atoll(wanted) : 10'000;
  const auto texts = golden_texts();
  ASSERT_GT(texts.size(), 1000u);
  Draws draws;
  double slowest_ms = 0;
  std::vector<int64_t> verdicts(5);
  for (int64_t round = 0; round < rounds; ++round) {
    const std::string& seed = texts[draws.below(texts.size())];
    const std::string gold = mutated(seed, texts, draws), answer = mutated(seed, texts, draws);
    Verdict verdict{};
    const std::clock_t start = std::clock();  // CPU time: other programs may take the machine away
    ASSERT_NO_THROW(verdict = compare_maths(answer, gold)) << gold << " || " << answer;
    const double ms = 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    ASSERT_LT(ms, 200) << gold << " || " << answer;
    slowest_ms = std::max(slowest_ms, ms);
    ++verdicts[static_cast<size_t>(verdict)];
    if (round % 16 == 0 && verdict != Verdict::kTimedOut) {
      ASSERT_EQ(compare_maths(answer, gold), verdict) << gold << " || " << answer;
    }
  }
  std::cout << rounds << " mutated pairs, slowest " << slowest_ms << " ms CPU:";
  for (size_t i = 0; i < verdicts.size(); ++i)
    std::cout << " " << verdict_name(static_cast<Verdict>(i)) << " " << verdicts[i];
  std::cout << "\n";
}

TEST(MathsMutation, LongHostileTextsEndInTime) {
  for (const std::string piece :
       {"(",       "{",    "\\frac{", "1,", "x+",      "x^",         "-",       "|",     "\\sqrt",
        "\\pm 1,", "9^",   "!",       "1 ", "((x)^2)", "(1,2)\\cup", "\\text{", "x=",    "\\begin{pmatrix}",
        "&",       "\\\\", "%",       "_",  "9",       "\\sin ",     "f(",      "\\{1,", "a ",
        "1/"}) {
    std::string text;
    while (text.size() + piece.size() < 9'000) text += piece;
    for (const char* tail : {"", "1", "x", ")"}) {
      const std::clock_t start = std::clock();
      compare_maths(text + tail, text + "2");
      compare_maths("5", text + tail);
      const double ms = 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
      EXPECT_LT(ms, 500) << piece << " ... " << tail;
    }
  }
}

}  // namespace
}  // namespace r1
