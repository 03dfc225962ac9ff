#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;
struct pcre2_real_match_context_8;
struct pcre2_real_jit_stack_8;

namespace r1 {

/// A regular expression of tokenizer files (the dialects of Oniguruma and of Rust's fancy-regex), run by
/// PCRE2 with JIT in UTF and UCP modes. Immutable after construction; each thread brings its own Matcher.
class Regex {
 public:
  /// Throws Error with `where` in front when PCRE2 refuses the pattern.
  Regex(const std::string& pattern, const std::string& where);

  /// Working memory of matching: one per thread and regular expression.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    /// The leftmost match in text[from..]; text must be valid UTF-8. False when there is none.
    bool find(std::string_view text, size_t from, size_t& begin, size_t& end);

   private:
    struct Free {
      void operator()(pcre2_real_match_data_8* p) const;
      void operator()(pcre2_real_match_context_8* p) const;
      void operator()(pcre2_real_jit_stack_8* p) const;
    };
    const Regex* regex_;
    std::unique_ptr<pcre2_real_match_data_8, Free> data_;
    std::unique_ptr<pcre2_real_jit_stack_8, Free> stack_;
    std::unique_ptr<pcre2_real_match_context_8, Free> context_;
    const size_t* ovector_;
  };

 private:
  struct Free {
    void operator()(pcre2_real_code_8* p) const;
  };
  std::unique_ptr<pcre2_real_code_8, Free> code_;
  bool jit_ = false;
};

/// `pattern` in PCRE2's words: \s, \S and \w get the meaning they have in Oniguruma and Rust (White_Space
/// excludes U+180E, which PCRE2 counts as space). Throws Error for what PCRE2 would silently read differently
/// ("&&" in a class).
std::string to_pcre2(std::string_view pattern, const std::string& where);

}  // namespace r1
