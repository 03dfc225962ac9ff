// Exact rational arithmetic on an answer's tree.
#include <algorithm>
#include <optional>

#include "maths_expr.h"

namespace r1::maths {
namespace {

constexpr size_t kMaxBits = 50'000;
constexpr unsigned long kMaxFactorial = 2000, kMaxBinomial = 5000, kMaxRoot = 64;

size_t bits_of(const mpq_class& value) {
  return mpz_sizeinbase(value.get_num_mpz_t(), 2) + mpz_sizeinbase(value.get_den_mpz_t(), 2);
}

bool is_number(const Expr& e) { return e.kind == Kind::kNumber; }
bool is_integer(const Expr& e) { return is_number(e) && e.number.get_den() == 1; }

/// The value of a small integer, or nothing.
std::optional<long> small(const Expr& e) {
  if (!is_integer(e) || !e.number.get_num().fits_slong_p()) return std::nullopt;
  return e.number.get_num().get_si();
}

std::optional<mpq_class> integer_power(const mpq_class& base, long exponent) {
  if (base == 0 && exponent < 0) throw Unreadable{};
  if (base == 1 || exponent == 0) return mpq_class(1);
  const auto size = static_cast<unsigned long>(exponent < 0 ? -exponent : exponent);
  if (size > kMaxBits || bits_of(base) * size > kMaxBits) return std::nullopt;
  mpq_class power;
  mpz_pow_ui(power.get_num_mpz_t(), base.get_num_mpz_t(), size);
  mpz_pow_ui(power.get_den_mpz_t(), base.get_den_mpz_t(), size);
  if (exponent < 0) power = 1 / power;
  return power;
}

/// The real root when it is rational; of a negative number only an odd one.
std::optional<mpq_class> exact_root(const mpq_class& radicand, unsigned long index) {
  if (index == 0 || index > kMaxRoot || (sgn(radicand) < 0 && index % 2 == 0)) return std::nullopt;
  mpq_class root;
  const bool exact = mpz_root(root.get_num_mpz_t(), radicand.get_num_mpz_t(), index) != 0 &&
                     mpz_root(root.get_den_mpz_t(), radicand.get_den_mpz_t(), index) != 0;
  return exact ? std::optional(root) : std::nullopt;
}

std::optional<mpq_class> rational_power(const mpq_class& base, const mpq_class& exponent) {
  if (!exponent.get_num().fits_slong_p() || !exponent.get_den().fits_ulong_p()) {
    if (base == 0 && sgn(exponent) > 0) return mpq_class(0);
    return base == 1 ? std::optional(mpq_class(1)) : std::nullopt;
  }
  const auto root = exact_root(base, exponent.get_den().get_ui());
  return root ? integer_power(*root, exponent.get_num().get_si()) : std::nullopt;
}

std::optional<mpq_class> exact_function(const std::string& name, const std::vector<Expr>& args) {
  if (args.empty() || !std::all_of(args.begin(), args.end(), is_number)) return std::nullopt;
  const mpq_class& first = args[0].number;
  mpz_class whole;
  if (name == "abs") return mpq_class(abs(first));
  if (name == "floor" || name == "ceil") {
    (name == "floor" ? mpz_fdiv_q : mpz_cdiv_q)(whole.get_mpz_t(), first.get_num_mpz_t(),
                                                first.get_den_mpz_t());
    return mpq_class(whole);
  }
  if (name == "max" || name == "min") {
    const auto less = [](const Expr& a, const Expr& b) { return a.number < b.number; };
    const auto [low, high] = std::minmax_element(args.begin(), args.end(), less);
    return name == "max" ? high->number : low->number;
  }
  if (!std::all_of(args.begin(), args.end(), is_integer)) return std::nullopt;
  if (name == "gcd" || name == "lcm") {
    whole = first.get_num();
    for (const Expr& e : args) {
      whole = name == "gcd" ? mpz_class(gcd(whole, e.number.get_num()))
                            : mpz_class(lcm(whole, e.number.get_num()));
      if (mpz_sizeinbase(whole.get_mpz_t(), 2) > kMaxBits) return std::nullopt;
    }
    return mpq_class(abs(whole));
  }
  const auto n = small(args[0]);
  if (name == "!" && n && *n >= 0 && static_cast<unsigned long>(*n) <= kMaxFactorial) {
    mpz_fac_ui(whole.get_mpz_t(), static_cast<unsigned long>(*n));
    return mpq_class(whole);
  }
  if (name == "binom" && n && args.size() == 2) {
    const auto k = small(args[1]);
    if (k && *k >= 0 && *n >= *k && static_cast<unsigned long>(*n) <= kMaxBinomial) {
      mpz_bin_uiui(whole.get_mpz_t(), static_cast<unsigned long>(*n), static_cast<unsigned long>(*k));
      return mpq_class(whole);
    }
  }
  return std::nullopt;
}

/// The value of an expression whose arguments are folded.
std::optional<mpq_class> exact_value(const Expr& e) {
  const auto& args = e.args;
  if (e.kind == Kind::kFunction) return exact_function(e.name, args);
  if (args.empty() || !std::all_of(args.begin(), args.end(), is_number)) {
    // 0 below a bar is no value, whatever stands above it.
    if (e.kind == Kind::kDivide && is_number(args[1]) && args[1].number == 0) throw Unreadable{};
    return std::nullopt;
  }
  size_t bits = 0;
  for (const Expr& arg : args) bits += bits_of(arg.number);
  if (bits > kMaxBits) return std::nullopt;
  mpq_class value;
  switch (e.kind) {
    case Kind::kAdd:
      for (const Expr& arg : args) value += arg.number;
      return value;
    case Kind::kMultiply:
      value = 1;
      for (const Expr& arg : args) value *= arg.number;
      return value;
    case Kind::kNegate:
      return mpq_class(-args[0].number);
    case Kind::kDivide:
      if (args[1].number == 0) throw Unreadable{};
      return mpq_class(args[0].number / args[1].number);
    case Kind::kPower:
      return rational_power(args[0].number, args[1].number);
    case Kind::kRoot:
      if (const auto index = small(args[1]); index && *index > 0) {
        return exact_root(args[0].number, static_cast<unsigned long>(*index));
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

bool is_arithmetic(Kind kind) {
  return kind == Kind::kAdd || kind == Kind::kMultiply || kind == Kind::kDivide || kind == Kind::kPower ||
         kind == Kind::kRoot || kind == Kind::kFunction;
}

/// c * M, M / c and -M with the factor inside.
bool scale_matrix(Expr& e, const Deadline& deadline) {
  const bool scales = e.kind == Kind::kMultiply || e.kind == Kind::kNegate || e.kind == Kind::kDivide;
  const auto is_matrix = [](const Expr& arg) { return arg.kind == Kind::kMatrix; };
  if (!scales || std::count_if(e.args.begin(), e.args.end(), is_matrix) != 1) return false;
  const auto at = std::find_if(e.args.begin(), e.args.end(), is_matrix);
  if (e.kind == Kind::kDivide && at != e.args.begin()) return false;
  Expr matrix = std::move(*at);
  for (Expr& row : matrix.args) {
    for (Expr& element : row.args) {
      deadline.poll();
      *at = std::move(element);
      element = e;
    }
  }
  e = std::move(matrix);
  return true;
}

}  // namespace

void fold(Expr& e, const Deadline& deadline) {
  deadline.poll();
  for (Expr& arg : e.args) {
    fold(arg, deadline);
    if (is_arithmetic(e.kind) && arg.kind == Kind::kPercent && is_number(arg.args[0])) {
      arg = make_number(arg.args[0].number / 100);
    }
  }
  if (e.kind == Kind::kNegate && e.args[0].kind == Kind::kPercent && is_number(e.args[0].args[0])) {
    Expr percent = std::move(e.args[0]);
    percent.args[0].number = -percent.args[0].number;
    e = std::move(percent);
    return;
  }
  if (scale_matrix(e, deadline)) {
    for (Expr& row : e.args) fold(row, deadline);
    return;
  }
  auto value = exact_value(e);
  if (!value) return;
  const bool decimal = e.kind == Kind::kNegate && e.args[0].decimal;
  e = make_number(std::move(*value));
  e.decimal = decimal;
}

}  // namespace r1::maths
