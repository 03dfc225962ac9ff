#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

/// Where an evaluation text stands: what a report names.
struct EvalText {
  std::string file;
  int64_t row = 0;              ///< as `row_key` says
  std::string id;               ///< the row's own id; empty when it has none
  std::string part;             ///< the field: "question", "solution"
  const char* row_key = "row";  ///< "line" of a JSON-lines file, or "row" from 0
};

/// The word n-grams of evaluation questions and reference solutions, to find training texts that share one.
///
/// DeepSeek-R1 (arXiv:2501.12948v2, D.1): text segments were filtered out "that contained matching 10-gram
/// sequences from evaluation questions or reference solutions". DeepSeekMath (arXiv:2402.03300, 2.1.1) adds
/// for benchmark texts "shorter than 10 grams but [with] at least 3 grams" exact matching. Here a question of
/// 3 to n - 1 words matches a text that holds all of it; shorter questions, and solutions of fewer than n
/// words (answers: "x = 3"), are not looked for. What a word is: letters and digits of any script in small
/// letters; punctuation and symbols only separate (docs/data.md). The papers do not say what theirs is.
class NgramIndex {
 public:
  explicit NgramIndex(int64_t n = 10);  ///< throws Error unless 4 <= n <= 100
  ~NgramIndex();
  NgramIndex(NgramIndex&&) noexcept;
  NgramIndex& operator=(NgramIndex&&) noexcept;

  /// `is_question`: also matched as a whole when it has 3 to n - 1 words.
  void add(const EvalText& where, std::string_view text, bool is_question);

  struct Match {
    std::string ngram;      ///< the words, separated by spaces
    const EvalText* where;  ///< the first evaluation text that was added with it; lives as long as the index
  };
  /// The first n-gram of `text` that is in the index. Linear time, any bytes, from any thread.
  std::optional<Match> find(std::string_view text) const;

  int64_t num_texts() const;    ///< added
  int64_t num_ngrams() const;   ///< different ones
  int64_t num_short() const;    ///< questions matched as a whole
  int64_t num_skipped() const;  ///< too short to be looked for

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
