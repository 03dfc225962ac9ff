#pragma once
#include <gmpxx.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

/// Private to the maths verifier: the tree that an answer is read into, and the limits of work on it.
namespace r1::maths {

enum class Kind {
  kNumber,  ///< `number`; `decimal` when it was written with a point
  kSymbol,  ///< `name`: a letter, a command without meaning, a word; lower case
  kPi,
  kE,
  kI,
  kInfinity,
  kAdd,
  kMultiply,
  kNegate,
  kDivide,
  kPower,
  kRoot,  ///< of args[0], with the index args[1]
  kPercent,
  kBased,      ///< 1011_2: args[0] as it is written, `name` the base
  kFunction,   ///< `name` of args
  kPlusMinus,  ///< args[0] +- args[1], with `upper` = false for -+
  kList,       ///< in any order, each element once: "1, 2" and \{1, 2\}
  kTuple,
  kInterval,  ///< of two ends; open on both sides it may be a point as well
  kUnion,
  kIntersection,
  kDifference,
  kMatrix,    ///< of rows, each a kTuple
  kRelation,  ///< args joined by the characters of `name`: = < > ! (not equal) l (<=) g (>=)
};

struct Expr {
  Kind kind = Kind::kNumber;
  bool decimal = false, upper = true;
  bool left_open = true, right_open = true;
  std::string name;
  mpq_class number;
  std::vector<Expr> args;
};

bool operator==(const Expr& a, const Expr& b);

/// Thrown for a text that is no mathematics, for a division by zero, and above a limit of size.
struct Unreadable {};
/// Thrown when the time is over.
struct Expired {};

class Deadline {
 public:
  explicit Deadline(double seconds)
      : end_(std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds)) {}
  /// Reads the clock at every 8th call.
  void poll() const {
    if (++calls_ % 8 == 0 && std::chrono::steady_clock::now() >= end_) throw Expired{};
  }

 private:
  std::chrono::time_point<std::chrono::steady_clock, std::chrono::duration<double>> end_;
  mutable unsigned calls_ = 0;
};

Expr make(Kind kind, std::vector<Expr> args = {}, std::string name = "");
Expr make_number(mpq_class value);

/// The expression of a text that went through maths_text, folded. Throws Unreadable and Expired.
Expr read_maths(std::string_view text, const Deadline& deadline);

/// `text` as the lexer takes it: LaTeX dressing, a unit at the end and a trailing dot taken off.
std::string maths_text(std::string_view text);

/// Replaces every part that has an exact rational value by that value, and moves a scalar factor into a
/// matrix. Throws Unreadable for a division by zero.
void fold(Expr& expr, const Deadline& deadline);

/// Every sign that +- stands for: one expression, or two where there is one.
std::vector<Expr> signs_of(const Expr& expr);

enum class Same { kYes, kNo, kUnknown };

/// Whether two scalar expressions have the same value, whatever their symbols stand for.
Same same_value(const Expr& gold, const Expr& answer, const Deadline& deadline);

/// Whether a = c * b for a constant c > 0 (positive) or c != 0 whatever the symbols stand for.
Same proportional(const Expr& a, const Expr& b, bool positive, const Deadline& deadline);

/// Whether the two mean the same: equations, sets, tuples, matrices and scalars.
Same same_meaning(const Expr& gold, const Expr& answer, const Deadline& deadline);

/// The same for sets of real numbers: unions, intersections, differences of intervals and finite sets.
Same same_set(const Expr& gold, const Expr& answer, const Deadline& deadline);

/// The set of reals that satisfy a relation (or a list of them, joined by "or") in one symbol that stands
/// alone on its side; the expression itself when it is none.
Expr as_set(const Expr& relation);

bool has_symbols(const Expr& expr);
int infinity_sign(const Expr& expr);  ///< +1 or -1 for an infinity, else 0

}  // namespace r1::maths
