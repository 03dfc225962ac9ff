#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace r1 {

/// kOther: words of every other script and, of the Latin ones, of languages without a list.
enum class Language { kEnglish, kChinese, kFrench, kGerman, kSpanish, kOther };
constexpr size_t kNumLanguages = 6;

/// Words of a text by language, indexed by Language.
struct LanguageCount {
  std::array<int64_t, kNumLanguages> words{};
  int64_t total() const;
  int64_t of(Language language) const { return words[size_t(language)]; }
};

/// Counts the words of a text by language.
///
/// What is a word: each Chinese character; else a run of letters of one script, apostrophes inside it. Not
/// counted, because they belong to no language: numbers and signs; LaTeX between $ $, \( \), \[ \] and
/// commands; code between backticks; <tags>; single letters; letters beside a digit, `_` or `\`; capitals
/// alone, up to five (ABC, GCD); names of functions (sin, log); one or two letters that are in no list (ab,
/// xy).
///
/// Whose it is: Chinese characters are Chinese, or other in a sentence with kana. Of Latin letters: a word in
/// the list of one language belongs to it; one in several, or in none, to the language of its sentence, the
/// one with most listed words there (a word in k lists counts 1 / k), failing that of the text. Letters such
/// as ß or ñ serve where lists do not. ASCII words without any listed word around them are English.
///
/// Linear time, any bytes, never throws.
LanguageCount count_words(std::string_view text);

/// The language with most words; nothing when there is no word.
std::optional<Language> main_language(std::string_view text);

/// words of `target` / all words, in [0, 1]; 0 when there is no word, so that writing nothing earns nothing.
///
/// DeepSeek-R1's language consistency reward, Num(Words_target) / Num(Words) of the chain of thought
/// (arXiv:2501.12948v2, training details of the first RL stage). The paper does not say what tells the words
/// apart; the rules above are ours.
double language_share(std::string_view text, Language target);

}  // namespace r1
