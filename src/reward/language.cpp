#include "r1/reward/language.h"

#include <algorithm>
#include <bit>
#include <cctype>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "language_words.h"
#include "letters.h"

namespace r1 {
namespace {

// Languages of the Latin script: a bit each, in the order of Language.
using Lists = unsigned;
constexpr Lists list_of(Language language) { return 1U << unsigned(language); }
constexpr Lists kEnglish = list_of(Language::kEnglish), kFrench = list_of(Language::kFrench),
                kGerman = list_of(Language::kGerman), kSpanish = list_of(Language::kSpanish),
                kOtherLatin = list_of(Language::kOther), kNeutral = 1U << kNumLanguages;

const std::unordered_map<std::string_view, Lists>& listed_words() {
  static const auto words = [] {
    std::unordered_map<std::string_view, Lists> found;
    for (const auto& [text, list] : {std::pair{kEnglishWords, kEnglish},
                                     {kFrenchWords, kFrench},
                                     {kGermanWords, kGerman},
                                     {kSpanishWords, kSpanish},
                                     {kNeutralWords, kNeutral}}) {
      for (std::string_view rest = text; !rest.empty();) {
        const size_t end = std::min(rest.find(' '), rest.size());
        found[rest.substr(0, end)] |= list;
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
    }
    return found;
  }();
  return words;
}

/// Which languages write this letter, of a word that is in no list.
Lists lists_of_letter(char32_t c) {
  if (c < 0x80) return 0;
  if (c == U'ä' || c == U'ö' || c == U'ü' || c == U'ß') return kGerman;
  if (c == U'é') return kFrench | kSpanish;
  if (std::u32string_view(U"áíñóú").find(c) != std::u32string_view::npos) return kSpanish;
  if (std::u32string_view(U"àâçèêëîïôœùû").find(c) != std::u32string_view::npos) return kFrench;
  return kOtherLatin;
}

char32_t lower(char32_t c) {
  const bool capital = (c >= U'A' && c <= U'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7);
  return capital ? c + 0x20 : c == U'Œ' ? U'œ' : c;
}

void append(std::string& text, char32_t c) {
  if (c < 0x80) {
    text += char(c);
  } else if (c < 0x800) {
    text += {char(0xC0 | (c >> 6)), char(0x80 | (c & 0x3F))};
  } else {
    text += {char(0xE0 | (c >> 12)), char(0x80 | ((c >> 6) & 0x3F)), char(0x80 | (c & 0x3F))};
  }
}

/// A run of letters of one script.
struct Run {
  std::string lower_case;  ///< UTF-8; of the Latin script only
  int64_t letters = 0;
  bool capitals = true;  ///< all of them
  Lists by_letters = ~0U;
  bool beside_sign = false;  ///< a digit, `_` or `\` stands next to it
};

using Weights = std::array<double, kNumLanguages>;

struct Sentence {
  std::vector<Lists> words;  ///< of the Latin script
  Weights weights{};         ///< of the languages of its listed words
  int64_t han = 0;
  bool kana = false;
};

std::optional<Language> heaviest(const Weights& weights, Lists among) {
  std::optional<Language> best;
  for (size_t i = 0; i < kNumLanguages; ++i) {
    if ((among & (1U << i)) != 0 && weights[i] > (best ? weights[size_t(*best)] : 0)) best = Language(i);
  }
  return best;
}

class Counter {
 public:
  explicit Counter(std::string_view text) : text_(text) {}

  LanguageCount count() {
    while (!text_.empty()) {
      if (!skip_what_is_no_language()) step();
    }
    end_sentence();
    for (const auto& sentence : sentences_) {
      for (const Lists lists : sentence.words) ++count_.words[size_t(language_of(lists, sentence))];
    }
    return count_;
  }

 private:
  /// LaTeX, code and tags. Each closer that was once not found is not looked for again, so the time stays
  /// linear.
  bool skip_what_is_no_language() {
    switch (text_.front()) {
      case '$':
        return skip_block("$$", "$$", 4) || skip_dollars();
      case '`':
        return skip_block("```", "```", 0) || skip_block("`", "`", 1);
      case '\\':
        return skip_block("\\(", "\\)", 2) || skip_block("\\[", "\\]", 3) || skip_command();
      case '<':
        return skip_tag();
      default:
        return false;
    }
  }

  bool skip_block(std::string_view opening, std::string_view closing, size_t kind) {
    if (!text_.starts_with(opening) || unclosed_[kind]) return false;
    const size_t end = text_.find(closing, opening.size());
    if (end == std::string_view::npos) {
      unclosed_[kind] = true;
      return false;
    }
    skip(end + closing.size());
    return true;
  }

  /// $x + y$ within a line. As in Pandoc's Markdown no space follows the first $ or stands before the second,
  /// and no digit follows it: "$5 and $7" is money.
  bool skip_dollars() {
    const size_t end = text_.find_first_of("$\n", 1);
    if (end == std::string_view::npos || text_[end] == '\n' || end == 1 || text_[1] == ' ' ||
        text_[end - 1] == ' ')
      return false;
    if (end + 1 < text_.size() && text_[end + 1] >= '0' && text_[end + 1] <= '9') return false;
    skip(end + 1);
    return true;
  }

  bool skip_command() {
    size_t end = 1;
    while (end < text_.size() && std::isalpha(static_cast<unsigned char>(text_[end])) != 0) ++end;
    const auto name = text_.substr(1, end - 1);
    if (name == "begin" || name == "end") {
      const size_t brace =
          text_.substr(end).starts_with("{") ? text_.substr(end, 32).find('}') : std::string_view::npos;
      if (brace != std::string_view::npos) end += brace + 1;
    }
    skip(end);
    return true;
  }

  bool skip_tag() {
    const bool tag =
        text_.size() > 1 && (text_[1] == '/' || std::isalpha(static_cast<unsigned char>(text_[1])) != 0);
    const size_t end = tag ? text_.substr(0, 64).find_first_of(">\n") : std::string_view::npos;
    if (end == std::string_view::npos || text_[end] == '\n') return false;
    skip(end + 1);
    return true;
  }

  void skip(size_t bytes) {
    text_.remove_prefix(bytes);
    before_ = U' ';
  }

  void step() {
    auto rest = text_;
    const char32_t c = take_code_point(rest);
    const Script script = script_of(c);
    if (script == Script::kNone) {
      const bool decimal =
          c == U'.' && !rest.empty() && !std::isspace(static_cast<unsigned char>(rest.front()));
      if (!decimal && std::u32string_view(U"\n.?!。？！").find(c) != std::u32string_view::npos)
        end_sentence();
      text_ = rest;
      before_ = c;
    } else if (script == Script::kHan || script == Script::kKana) {
      sentence_.han += script == Script::kHan ? 1 : 0;
      if (script == Script::kKana) {
        sentence_.kana = true;
        ++count_.words[size_t(Language::kOther)];
      }
      text_ = rest;
      before_ = c;
    } else {
      const Run run = take_run(script);
      if (script == Script::kLatin) {
        add_latin(run);
      } else if (run.letters > 1) {
        ++count_.words[size_t(Language::kOther)];
      }
    }
  }

  static bool is_sign(char32_t c) { return (c >= U'0' && c <= U'9') || c == U'_' || c == U'\\'; }

  Run take_run(Script script) {
    Run run;
    run.beside_sign = is_sign(before_);
    while (!text_.empty()) {
      auto rest = text_;
      char32_t c = take_code_point(rest);
      const bool accent = c >= 0x300 && c <= 0x36F;
      const bool apostrophe =
          (c == U'\'' || c == U'’') && run.letters > 0 && !rest.empty() && next_is(rest, script);
      if (script_of(c) != script && !accent && !apostrophe) {
        run.beside_sign |= is_sign(c);
        break;
      }
      text_ = rest;
      before_ = c;
      if (accent) continue;
      if (apostrophe) {
        run.lower_case += '\'';
        continue;
      }
      ++run.letters;
      if (script != Script::kLatin) continue;
      run.capitals &= lower(c) != c;
      c = lower(c);
      append(run.lower_case, c);
      if (const Lists lists = lists_of_letter(c); lists != 0)
        run.by_letters = (run.by_letters & lists) != 0 ? run.by_letters & lists : kOtherLatin;
    }
    return run;
  }

  static bool next_is(std::string_view rest, Script script) {
    return script_of(take_code_point(rest)) == script;
  }

  void add_latin(const Run& run) {
    if (run.letters <= 1 || run.beside_sign || (run.capitals && run.letters <= 5)) return;
    const auto listed = listed_words().find(run.lower_case);
    Lists lists = 0;
    if (listed != listed_words().end()) {
      lists = listed->second;
      if ((lists & kNeutral) != 0) return;
    } else if (run.by_letters != ~0U) {
      lists = run.by_letters;
    } else if (run.letters <= 2) {
      return;
    }
    sentence_.words.push_back(lists);
    for (size_t i = 0; i < kNumLanguages; ++i) {
      if ((lists & (1U << i)) == 0) continue;
      const double weight = 1.0 / std::popcount(lists);
      sentence_.weights[i] += weight;
      weights_[i] += weight;
    }
  }

  void end_sentence() {
    count_.words[size_t(sentence_.kana ? Language::kOther : Language::kChinese)] += sentence_.han;
    if (!sentence_.words.empty()) sentences_.push_back(std::move(sentence_));
    sentence_ = {};
  }

  Language language_of(Lists lists, const Sentence& sentence) const {
    const Lists among = lists != 0 ? lists : ~0U;
    if (const auto best = heaviest(sentence.weights, among)) return *best;
    return heaviest(weights_, among).value_or(Language::kEnglish);
  }

  std::string_view text_;
  char32_t before_ = U' ';
  std::array<bool, 5> unclosed_{};
  Sentence sentence_;
  std::vector<Sentence> sentences_;
  Weights weights_{};
  LanguageCount count_;
};

}  // namespace

int64_t LanguageCount::total() const { return std::accumulate(words.begin(), words.end(), int64_t{0}); }

LanguageCount count_words(std::string_view text) { return Counter(text).count(); }

std::optional<Language> main_language(std::string_view text) {
  const auto count = count_words(text);
  if (count.total() == 0) return std::nullopt;
  return Language(std::max_element(count.words.begin(), count.words.end()) - count.words.begin());
}

double language_share(std::string_view text, Language target) {
  const auto count = count_words(text);
  const int64_t total = count.total();
  return total == 0 ? 0.0 : double(count.of(target)) / double(total);
}

}  // namespace r1
