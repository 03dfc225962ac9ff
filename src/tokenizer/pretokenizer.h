#pragma once
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pcre2_regex.h"

namespace r1 {

/// Cuts a text into the words that BPE never merges across: the `pre_tokenizer` of a tokenizer.json, as a
/// sequence of Split, Digits, ByteLevel, Whitespace, WhitespaceSplit, Punctuation and Metaspace steps, each
/// applied to every piece of the step before. Works on bytes: the byte-level alphabet is undone when the
/// vocabulary is read, so ByteLevel only splits.
class PreTokenizer {
 public:
  PreTokenizer() = default;  ///< one word: the whole text
  /// Throws Error with `where` in front for a type, key or value that is not supported.
  PreTokenizer(const nlohmann::json& spec, const std::string& where);

  /// The specification as given; null for none.
  const nlohmann::json& spec() const { return spec_; }
  /// Whether a ByteLevel step is there, so that the vocabulary is spelled in the byte-level alphabet.
  bool byte_level() const { return byte_level_; }

  /// What receives the words, in order.
  class Sink {
   public:
    virtual void word(std::string_view word) = 0;

   protected:
    ~Sink() = default;
  };

  /// Working memory of split(): one per thread.
  class Scratch {
   public:
    explicit Scratch(const PreTokenizer& pretokenizer);

   private:
    friend class PreTokenizer;
    std::vector<std::optional<Regex::Matcher>> matchers;  // by step
  };

  /// `text` is valid UTF-8; at_start says that no token precedes it (Metaspace "first" looks at that).
  void split(std::string_view text, bool at_start, Scratch& scratch, Sink& sink) const;

 private:
  enum class Kind { kRegex, kDigits, kPrefixSpace, kMetaspace };
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Prepend { kAlways, kFirst, kNever };
  struct Step {
    Kind kind = Kind::kRegex;
    std::unique_ptr<Regex> regex;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;             // the gaps are the matches
    bool individual_digits = false;  // Digits
    std::string replacement;         // Metaspace
    Prepend prepend = Prepend::kAlways;
    bool metaspace_split = true;
  };

  void add(const nlohmann::json& spec, const std::string& where);
  void add_regex(const std::string& pattern, Behavior behavior, bool invert, const std::string& where);
  void run(size_t step, std::string_view piece, bool at_start, Scratch& scratch, Sink& sink) const;
  void run_regex(size_t step, std::string_view piece, bool at_start, Scratch& scratch, Sink& sink) const;
  void run_digits(size_t step, std::string_view piece, bool at_start, Scratch& scratch, Sink& sink) const;
  void run_metaspace(size_t step, std::string_view piece, bool at_start, Scratch& scratch, Sink& sink) const;

  std::vector<Step> steps_;
  nlohmann::json spec_;
  bool byte_level_ = false;
};

/// The `pre_tokenizer` (and `normalizer`) JSON of a named preset, or nullptr for an unknown name.
struct PreTokenizerPreset {
  const char* pre_tokenizer;
  const char* normalizer;  // "null" for none
  bool ignore_merges;      // a word that is a token stays whole, whatever the merges say
};
const PreTokenizerPreset* find_preset(std::string_view name);

}  // namespace r1
