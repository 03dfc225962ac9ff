#include "r1/reward/countdown.h"

#include <algorithm>
#include <string>

#include "rational.h"

namespace r1 {
namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxBytes = 1000;

/// sum := product (("+" | "-") product)*; product := factor (("*" | "/") factor)*; factor := "-" factor | "("
/// sum ")" | digits. `readable` falls when the text is none of this; `finite` falls at a division by zero.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}
  explicit ExpressionParser(std::string&&) = delete;  // only looked at, so it must live on

  mpq_class sum(int depth) {
    mpq_class value = product(depth);
    while (readable) {
      if (take("+")) {
        value += product(depth);
      } else if (take("-") || take("\xE2\x88\x92")) {
        value -= product(depth);
      } else {
        break;
      }
    }
    return value;
  }

  bool take(std::string_view word) {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  bool at_end() {
    take("");
    return at_ == text_.size();
  }

  bool readable = true;
  bool finite = true;
  std::vector<mpz_class> used;  ///< the numbers, in the order they stand

 private:
  mpq_class product(int depth) {
    mpq_class value = factor(depth);
    while (readable) {
      if (take("*") || take("\xC3\x97") || take("\\times") || take("\\cdot")) {
        value *= factor(depth);
      } else if (take("/") || take("\xC3\xB7") || take("\\div")) {
        const mpq_class below = factor(depth);
        if (below == 0) {
          finite = false;
        } else {
          value /= below;
        }
      } else {
        break;
      }
    }
    return value;
  }

  mpq_class factor(int depth) {
    if (depth > kMaxDepth) {
      readable = false;
      return 0;
    }
    if (take("-") || take("\xE2\x88\x92")) return -factor(depth + 1);
    if (take("(")) {
      mpq_class value = sum(depth + 1);
      if (!take(")")) readable = false;
      return value;
    }
    const size_t start = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    if (at_ == start) {
      readable = false;
      return 0;
    }
    used.emplace_back(std::string(text_.substr(start, at_ - start)), 10);
    return used.back();
  }

  std::string_view text_;
  size_t at_ = 0;
};

bool uses_given_numbers(const std::vector<mpz_class>& used, const std::vector<int64_t>& numbers,
                        bool use_all) {
  if (used.size() > numbers.size() || (use_all && used.size() != numbers.size())) return false;
  std::vector<mpz_class> left;
  for (const int64_t number : numbers) left.emplace_back(std::to_string(number), 10);
  for (const auto& number : used) {
    const auto found = std::find(left.begin(), left.end(), number);
    if (found == left.end()) return false;
    left.erase(found);
  }
  return true;
}

}  // namespace

Verdict check_countdown(std::string_view answer, const std::vector<int64_t>& numbers, int64_t target,
                        bool use_all) {
  if (answer.size() > kMaxBytes) return Verdict::kAnswerUnreadable;
  const std::string plain = plain_maths(answer);
  ExpressionParser parser(plain);
  const mpq_class value = parser.sum(0);
  if (!parser.readable) return Verdict::kAnswerUnreadable;
  const mpq_class wanted(mpz_class(std::to_string(target), 10));
  bool says_target = true;
  if (parser.take("=")) {
    ExpressionParser stated(std::string_view(plain).substr(plain.rfind('=') + 1));
    says_target = stated.sum(0) == wanted;
    if (!stated.readable || !stated.at_end() || std::count(plain.begin(), plain.end(), '=') != 1) {
      return Verdict::kAnswerUnreadable;
    }
  } else if (!parser.at_end()) {
    return Verdict::kAnswerUnreadable;
  }
  const bool right =
      parser.finite && says_target && value == wanted && uses_given_numbers(parser.used, numbers, use_all);
  return right ? Verdict::kRight : Verdict::kWrong;
}

}  // namespace r1
