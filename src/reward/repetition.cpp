#include "r1/reward/repetition.h"

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "letters.h"

namespace r1 {
namespace {

/// The words as numbers, equal for equal words.
std::vector<uint64_t> word_numbers(std::string_view text) {
  std::unordered_map<std::string, uint64_t> numbers;
  std::vector<uint64_t> words;
  std::string word;
  const auto end_word = [&] {
    if (word.empty()) return;
    words.push_back(numbers.emplace(word, numbers.size() + 1).first->second);
    word.clear();
  };
  while (!text.empty()) {
    const auto before = text;
    const char32_t c = take_code_point(text);
    const Script script = script_of(c);
    const bool alone = script == Script::kHan || script == Script::kKana;
    const bool space = c == U' ' || (c >= U'\t' && c <= U'\r') || c == 0x3000;
    if (alone || space) end_word();
    if (space) continue;
    if (c >= U'A' && c <= U'Z') {
      word += char(c + 0x20);
    } else {
      word += before.substr(0, before.size() - text.size());
    }
    if (alone) end_word();
  }
  end_word();
  return words;
}

/// splitmix64's last step (Steele, Lea, Flood 2014): a bijection that scatters.
uint64_t scatter(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31);
}

}  // namespace

double repetition_share(std::string_view text, int64_t ngram) {
  const auto words = word_numbers(text);
  const auto n = size_t(ngram);
  if (words.size() <= n) return 0;
  // A rolling polynomial hash modulo 2^64 of scattered numbers: two different n-grams meet with a chance of
  // 2^-64.
  constexpr uint64_t kBase = 0x9E3779B97F4A7C15ULL;
  uint64_t highest = 1, hash = 0;
  for (size_t i = 1; i < n; ++i) highest *= kBase;
  std::unordered_set<uint64_t> distinct;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i >= n) hash -= highest * scatter(words[i - n]);
    hash = hash * kBase + scatter(words[i]);
    if (i + 1 >= n) distinct.insert(hash);
  }
  return 1.0 - double(distinct.size()) / double(words.size() - n + 1);
}

}  // namespace r1
