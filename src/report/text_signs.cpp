#include "r1/report/text_signs.h"

#include <unordered_set>

namespace r1::report {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_word_character(char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Bytes of the word at `i`: a run of letters, or one character of UTF-8 with the bytes that continue it.
size_t word_bytes(std::string_view text, size_t i) {
  size_t end = i + 1;
  if (is_letter(text[i])) {
    while (end < text.size() && is_letter(text[end])) ++end;
  } else {
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
  }
  return end - i;
}

}  // namespace

const std::vector<std::string>& paper_reflective_words() {
  static const std::vector<std::string> words = {"wait",  "mistake", "however", "but",      "retry",
                                                 "error", "verify",  "wrong",   "evaluate", "check"};
  return words;
}

const std::vector<std::string>& more_reflective_words() {
  static const std::vector<std::string> words = {"alternatively", "let me",   "double-check", "recheck",
                                                 "hmm",           "actually", "re-examine"};
  return words;
}

int64_t count_reflective_words(std::string_view text) {
  static const std::unordered_set<std::string> words(paper_reflective_words().begin(),
                                                     paper_reflective_words().end());
  int64_t count = 0;
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && is_word_character(text[i])) {
      word += lower(text[i]);
    } else if (!word.empty()) {
      count += words.contains(word) ? 1 : 0;
      word.clear();
    }
  }
  return count;
}

double repeated_share(std::string_view text) {
  std::vector<std::pair<size_t, size_t>> words;  // begin, end
  for (size_t i = 0; i < text.size();) {
    const size_t bytes = word_bytes(text, i);
    if (!is_space(text[i])) words.emplace_back(i, i + bytes);
    i += bytes;
  }
  if (words.size() < 4) return 0;
  std::unordered_set<std::string> distinct;
  for (size_t w = 0; w + 4 <= words.size(); ++w) {
    std::string gram;
    for (size_t k = w; k < w + 4; ++k) {
      gram.append(text.substr(words[k].first, words[k].second - words[k].first)).push_back('\0');
    }
    distinct.insert(std::move(gram));
  }
  return 1.0 - static_cast<double>(distinct.size()) / static_cast<double>(words.size() - 3);
}

}  // namespace r1::report
