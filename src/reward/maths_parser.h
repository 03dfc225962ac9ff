#pragma once
#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "maths_expr.h"
#include "maths_lexer.h"

namespace r1::maths {

constexpr int kMaxDepth = 100;

/// Counts one level of nesting as long as it lives; throws Unreadable above kMaxDepth.
class Nested {
 public:
  explicit Nested(int& depth) : depth_(depth) {
    if (++depth_ > kMaxDepth) throw Unreadable{};
  }
  ~Nested() { --depth_; }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  int& depth_;
};

bool is_function(const Token& token);  ///< \sin, \log, ...: what takes an argument without brackets

/// Recursive descent over the tokens of an answer; every method reads one part and throws Unreadable when it
/// is not there.
///
///   elements := relation (("," | ";") relation)*        relation := union (("=" | "<" | ...) union)*
///   union    := sum (("\cup" | "\cap" | "\setminus") sum)*
///   sum      := product (("+" | "-" | "\pm") product)*   product := factors (("*" | "/" | ...) factors)*
///   factors  := power+, side by side                     power   := atom ("!" | "%" | "^" exponent | ...)*
class Parser {
 public:
  Parser(std::string_view text, const Deadline& deadline) : tokens_(tokens_of(text)), deadline_(deadline) {}
  Expr whole();

 private:
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool take(std::string_view sign);
  bool take_command(std::string_view name);
  void expect(std::string_view sign);
  bool starts_atom() const;

  std::vector<Expr> elements(bool both_signs_of_one);
  Expr relation();
  char relation_sign();
  Expr unions();
  Expr sum();
  Expr product();
  Expr signed_factors();
  Expr factors(bool stops_at_function);
  Expr power();
  Expr exponent();
  Expr atom();
  Expr number();
  Expr symbol();
  std::string subscript();
  Expr command();
  Expr known_command(const std::string& name);  // in maths_commands.cpp with what it needs
  Expr function(const std::string& name);
  Expr root();
  Expr matrix();
  Expr argument();
  Expr brackets();
  Expr braces(std::string_view close);
  Expr enclosed(std::string_view function, std::string_view closing_command);

  std::vector<Token> tokens_;
  const Deadline& deadline_;
  size_t at_ = 0;
  int depth_ = 0;
  int open_bars_ = 0;             ///< |x| around this place
  bool in_trigonometry_ = false;  ///< degrees count there
};

}  // namespace r1::maths
