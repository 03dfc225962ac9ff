#include "r1/reward/language.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace r1 {
namespace {

constexpr const char* kEnglish =
    "Let me think about this step by step. The train leaves at noon, so it has been on the road for three "
    "hours. "
    "Wait, that is wrong: it stops once. Multiply speed by time and we get 180 km.";
constexpr const char* kChinese =
    "首先我们设火车的速度为每小时六十公里。等一下，它中途停了一次，所以实际行驶时间是三小时，答案是180公里。";
constexpr const char* kFrench =
    "Calculons d'abord la distance. Le train est parti à midi et nous avons donc trois heures de route, mais "
    "il s'arrête "
    "une fois avant la ville.";
constexpr const char* kGerman =
    "Zuerst berechnen wir die Strecke. Der Zug ist um zwölf Uhr abgefahren und fährt seit drei Stunden, aber "
    "er hält "
    "einmal vor der Stadt.";
constexpr const char* kSpanish =
    "Primero calculamos la distancia. El tren salió a las doce y lleva tres horas de viaje, pero se detiene "
    "una vez antes "
    "de la ciudad.";

TEST(Language, WholeTextsBelongToTheirLanguage) {
  for (const auto& [text, language] : {std::pair{kEnglish, Language::kEnglish},
                                       {kChinese, Language::kChinese},
                                       {kFrench, Language::kFrench},
                                       {kGerman, Language::kGerman},
                                       {kSpanish, Language::kSpanish}}) {
    EXPECT_EQ(main_language(text), language) << text;
    EXPECT_EQ(language_share(text, language), 1.0) << text;
  }
}

TEST(Language, MixedTextsAreDividedByWords) {
  // 6 Chinese characters, 4 English words.
  EXPECT_EQ(language_share("我们先计算 the sum of numbers。", Language::kEnglish), 4.0 / 9);
  EXPECT_EQ(language_share("我们先计算 the sum of numbers。", Language::kChinese), 5.0 / 9);
  // A sentence each: unknown words go with their sentence.
  const std::string mixed = std::string(kEnglish) + " " + kGerman;
  const auto count = count_words(mixed);
  EXPECT_EQ(count.of(Language::kEnglish), count_words(kEnglish).total());
  EXPECT_EQ(count.of(Language::kGerman), count_words(kGerman).total());
  EXPECT_EQ(count.total(), count.of(Language::kEnglish) + count.of(Language::kGerman));
  // One word of another language inside a sentence.
  EXPECT_EQ(count_words("So we find that aber is the value").of(Language::kGerman), 1);
}

TEST(Language, OtherScriptsAreOther) {
  for (const char* text : {"Давайте посчитаем сумму", "まず速度を計算します", "먼저 속도를 계산합니다",
                           "لنحسب السرعة أولا", "चलिए गति की गणना", "ลองคำนวณ"}) {
    const auto count = count_words(text);
    EXPECT_GT(count.of(Language::kOther), 0) << text;
    EXPECT_EQ(count.of(Language::kOther), count.total()) << text;
  }
}

TEST(Language, MathsAndCodeBelongToNoLanguage) {
  for (const char* text :
       {"", "12 + 7 = 19", "$x + velocity$", "$$\\sum_{i} speed$$", "\\(abc + def\\)",
        "\\[ \\text{total} \\]", "`print(value)`", "```python\nfor item in values: print(item)\n```",
        "x = 3, y = ab, x1 = x_max", "sin x + log y", "ABC ~ DEF", "<think></think>",
        "\\frac{1}{2} \\begin{aligned} 1 \\end{aligned}", "a b c"}) {
    EXPECT_EQ(count_words(text).total(), 0) << text;
  }
  EXPECT_EQ(language_share("12 + 7 = 19", Language::kEnglish), 0) << "writing no word earns nothing";
  EXPECT_EQ(language_share("设三角形 ABC 的边长为 $side$，求 sin A", Language::kChinese), 1.0);
  EXPECT_EQ(count_words("It costs $5 and then $7 more").total(), 5) << "money is no formula";
  EXPECT_EQ(count_words("unclosed `code and more words").total(), 5);
}

TEST(Language, WordsWithoutAnyListedWordAreEnglishOrByTheirLetters) {
  EXPECT_EQ(main_language("Velocity"), Language::kEnglish);
  EXPECT_EQ(main_language("Geschwindigkeitsänderung"), Language::kGerman);
  EXPECT_EQ(main_language("prędkość"), Language::kOther);
  EXPECT_EQ(main_language("12"), std::nullopt);
}

TEST(Language, AnyBytesInLinearTime) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += char(i);
  count_words(bytes);
  const auto start = std::chrono::steady_clock::now();
  for (const char* piece : {"$ ", "$a ", "$", "`", "``", "\\(", "\\[", "<a", "\\begin{", "a'", "é",
                            "\xe4\xb8", "我", "the ", "\\", "'"}) {
    std::string text;
    while (text.size() < 300'000) text += piece;
    count_words(text);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20))
      << "16 texts of 300 KB; quadratic: minutes";
}

}  // namespace
}  // namespace r1
