#include "maths_ball.h"

#include <cstdint>
#include <map>

namespace r1::maths {
namespace {

constexpr long kMaxMagnitudeBits =
    4096;  ///< of the argument of a function: reducing longer ones takes too long

using Function = void (*)(acb_t, const acb_t, slong);
const std::map<std::string, Function, std::less<>> kFunctions = {
    {"sin", acb_sin},       {"cos", acb_cos},       {"tan", acb_tan},       {"cot", acb_cot},
    {"sec", acb_sec},       {"csc", acb_csc},       {"arcsin", acb_asin},   {"arccos", acb_acos},
    {"arctan", acb_atan},   {"sinh", acb_sinh},     {"cosh", acb_cosh},     {"tanh", acb_tanh},
    {"coth", acb_coth},     {"arsinh", acb_asinh},  {"arcosh", acb_acosh},  {"artanh", acb_atanh},
    {"arcsinh", acb_asinh}, {"arccosh", acb_acosh}, {"arctanh", acb_atanh}, {"exp", acb_exp},
};

uint64_t mixed(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t hash_of(std::string_view name, int point) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mixed(hash + static_cast<uint64_t>(point) * 0x9E3779B97F4A7C15u);
}

/// A dyadic number of 22 bits in [1/4, 9/4): positive at the first two points, negative at the third, either
/// after.
void set_symbol(acb_t out, std::string_view name, int point) {
  const uint64_t hash = hash_of(name, point);
  const slong size = static_cast<slong>((hash >> 40) % (1 << 21)) + (1 << 18);
  const bool negative = point == 2 || (point > 2 && (hash & 1) != 0);
  acb_set_si(out, negative ? -size : size);
  acb_mul_2exp_si(out, out, -20);
}

class Evaluator {
 public:
  Evaluator(slong precision, int point, const Deadline& deadline)
      : bits_(precision), point_(point), deadline_(deadline) {}

  Ball value(const Expr& e) {
    deadline_.poll();
    Ball out;
    switch (e.kind) {
      case Kind::kNumber:
        set_rational(out, e.number);
        break;
      case Kind::kSymbol:
        set_symbol(out.get(), e.name, point_);
        break;
      case Kind::kPi:
        acb_const_pi(out.get(), bits_);
        break;
      case Kind::kE:
        arb_const_e(acb_realref(out.get()), bits_);
        break;
      case Kind::kI:
        acb_onei(out.get());
        break;
      case Kind::kAdd:
        for (const Expr& arg : e.args) acb_add(out.get(), out.get(), value(arg).get(), bits_);
        break;
      case Kind::kMultiply:
        acb_one(out.get());
        for (const Expr& arg : e.args) acb_mul(out.get(), out.get(), value(arg).get(), bits_);
        break;
      case Kind::kNegate:
        acb_neg(out.get(), value(e.args[0]).get());
        break;
      case Kind::kDivide:
        acb_div(out.get(), value(e.args[0]).get(), value(e.args[1]).get(), bits_);
        break;
      case Kind::kPercent:
        acb_div_ui(out.get(), value(e.args[0]).get(), 100, bits_);
        break;
      case Kind::kBased:
        return value(e.args[0]);
      case Kind::kPower:
        power(out, e.args[0], e.args[1]);
        break;
      case Kind::kRoot: {
        const Expr index = make(Kind::kDivide, {make_number(1), e.args[1]});
        if (e.args[1].kind == Kind::kNumber && e.args[1].number != 0) {
          power(out, e.args[0], make_number(1 / e.args[1].number));
        } else {
          power(out, e.args[0], index);
        }
        break;
      }
      case Kind::kFunction:
        function(out, e);
        break;
      default:  // infinity, and what is no scalar
        acb_indeterminate(out.get());
    }
    return out;
  }

 private:
  void set_rational(Ball& out, const mpq_class& number) const {
    fmpq_t q;
    fmpq_init(q);
    fmpz_set_mpz(fmpq_numref(q), number.get_num_mpz_t());
    fmpz_set_mpz(fmpq_denref(q), number.get_den_mpz_t());
    acb_set_fmpq(out.get(), q, bits_);
    fmpq_clear(q);
  }

  /// Real where it can be: a negative base with an exponent of odd denominator has its real root, (-8)^{1/3}
  /// = -2.
  void power(Ball& out, const Expr& base_expr, const Expr& exponent) {
    Ball base = value(base_expr);
    if (base_expr.kind == Kind::kE) return acb_exp(out.get(), bounded(value(exponent)).get(), bits_);
    if (exponent.kind != Kind::kNumber) {
      return acb_pow(out.get(), base.get(), bounded(value(exponent)).get(), bits_);
    }
    const mpq_class& q = exponent.number;
    if (mpz_sizeinbase(q.get_num_mpz_t(), 2) > 62 || mpz_sizeinbase(q.get_den_mpz_t(), 2) > 62) {
      return acb_pow(out.get(), base.get(), bounded(value(exponent)).get(), bits_);
    }
    const slong above = q.get_num().get_si(), below = q.get_den().get_si();
    if (below > 1) {
      const bool negative = acb_is_real(base.get()) && arb_is_negative(acb_realref(base.get()));
      const bool real_root = negative && below % 2 == 1;
      if (real_root) acb_neg(base.get(), base.get());
      if (acb_is_real(base.get()) && arb_is_nonnegative(acb_realref(base.get()))) {
        arb_root_ui(acb_realref(base.get()), acb_realref(base.get()), static_cast<ulong>(below), bits_);
      } else {
        acb_root_ui(base.get(), base.get(), static_cast<ulong>(below), bits_);
      }
      if (real_root) acb_neg(base.get(), base.get());
    }
    acb_pow_si(out.get(), base.get(), above, bits_);
  }

  /// Indeterminate when it is too large for a function's argument.
  Ball bounded(Ball argument) const {
    if (!acb_is_finite(argument.get()) || acb_rel_error_bits(argument.get()) > 0) {
      if (!acb_contains_zero(argument.get())) acb_indeterminate(argument.get());
    }
    mag_t size;
    mag_init(size);
    acb_get_mag(size, argument.get());
    if (mag_cmp_2exp_si(size, kMaxMagnitudeBits) > 0) acb_indeterminate(argument.get());
    mag_clear(size);
    return argument;
  }

  void function(Ball& out, const Expr& e) {
    std::vector<Ball> args;
    for (const Expr& arg : e.args) args.push_back(bounded(value(arg)));
    const acb_ptr first = args[0].get();
    if (e.name.starts_with("call ")) {
      unknown_function(out, e.name, args);
    } else if (const auto known = kFunctions.find(e.name); known != kFunctions.end()) {
      known->second(out.get(), first, bits_);
    } else if (e.name == "log" && args.size() == 2) {
      acb_log(out.get(), first, bits_);
      acb_log(first, args[1].get(), bits_);
      acb_div(out.get(), out.get(), first, bits_);
    } else if (e.name == "arccot" || e.name == "arcsec" || e.name == "arccsc") {
      acb_inv(first, first, bits_);
      (e.name == "arccot" ? acb_atan : e.name == "arcsec" ? acb_acos : acb_asin)(out.get(), first, bits_);
    } else if (e.name == "abs") {
      acb_abs(acb_realref(out.get()), first, bits_);
    } else if ((e.name == "floor" || e.name == "ceil") && acb_is_real(first)) {
      (e.name == "floor" ? arb_floor : arb_ceil)(acb_realref(out.get()), acb_realref(first), bits_);
    } else if ((e.name == "max" || e.name == "min") && acb_is_real(first)) {
      acb_set(out.get(), first);
      for (const Ball& arg : args) {
        if (!acb_is_real(arg.get())) return acb_indeterminate(out.get());
        (e.name == "max" ? arb_max : arb_min)(acb_realref(out.get()), acb_realref(out.get()), arg.real(),
                                              bits_);
      }
    } else if (e.name == "!") {
      acb_add_ui(first, first, 1, bits_);
      acb_gamma(out.get(), first, bits_);
    } else if (e.name == "binom" && args.size() == 2) {
      binomial(out, args[0], args[1]);
    } else {
      acb_indeterminate(out.get());
    }
  }

  void binomial(Ball& out, Ball& n, Ball& k) const {
    Ball rest;
    acb_sub(rest.get(), n.get(), k.get(), bits_);
    for (const acb_ptr x : {n.get(), k.get(), rest.get()}) acb_add_ui(x, x, 1, bits_);
    acb_gamma(out.get(), n.get(), bits_);
    for (const acb_ptr x : {k.get(), rest.get()}) {
      acb_rgamma(x, x, bits_);
      acb_mul(out.get(), out.get(), x, bits_);
    }
  }

  /// f(u, v) stands for some function nobody knows: sin(a u + b) + c u, summed over the arguments, with
  /// numbers that f's name gives.
  void unknown_function(Ball& out, const std::string& name, std::vector<Ball>& args) const {
    int at = 0;
    for (Ball& arg : args) {
      Ball a, c;
      set_symbol(a.get(), name, ++at);
      set_symbol(c.get(), name, ++at);
      acb_mul(c.get(), c.get(), arg.get(), bits_);
      acb_mul(a.get(), a.get(), arg.get(), bits_);
      acb_add_ui(a.get(), a.get(), 1, bits_);
      acb_sin(a.get(), a.get(), bits_);
      acb_add(out.get(), out.get(), a.get(), bits_);
      acb_add(out.get(), out.get(), c.get(), bits_);
    }
  }

  slong bits_;
  int point_;
  const Deadline& deadline_;
};

}  // namespace

Ball ball_of(const Expr& expr, long precision_bits, int point, const Deadline& deadline) {
  return Evaluator(precision_bits, point, deadline).value(expr);
}

}  // namespace r1::maths
