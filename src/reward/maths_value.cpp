// Whether two scalars have the same value: exactly where both are rational, else by ball arithmetic.
#include <optional>

#include "maths_ball.h"

namespace r1::maths {
namespace {

constexpr long kPrecisions[] = {96, 384, 1536};
constexpr long kEqualBits = 64;       ///< equal when nothing differs in so many bits...
constexpr long kWholeBits = 16;       ///< ...and by less than 2^-16: large numbers differ by 1...
constexpr long kZeroBits = 80;        ///< ...or when both are as small as 2^-80
constexpr int kEnoughPoints = 2;      ///< of kPoints; the others may have no value
constexpr long kRounded = 1'000'000;  ///< decimals count six places

bool is_number(const Expr& e) { return e.kind == Kind::kNumber; }

mpz_class rounded(const mpq_class& value) {  // half away from zero
  const mpq_class scaled = abs(value) * kRounded + mpq_class(1, 2);
  const mpz_class size = scaled.get_num() / scaled.get_den();
  return sgn(value) < 0 ? mpz_class(-size) : size;
}

/// A number written with a point stands for all that round to it: six decimals, and three leading digits.
bool same_rounded(const mpq_class& a, const mpq_class& b) {
  return rounded(a) == rounded(b) && abs(a - b) * 1000 <= abs(a);
}

/// The value of a real constant to some 100 bits.
std::optional<mpq_class> approximation(const Expr& e, const Deadline& deadline) {
  const Ball ball = ball_of(e, 128, 0, deadline);
  const bool usable = acb_is_finite(ball.get()) && arb_contains_zero(acb_imagref(ball.get())) &&
                      arb_rel_accuracy_bits(ball.real()) > kEqualBits &&
                      arf_cmpabs_2exp_si(arb_midref(ball.real()), 4096) < 0 &&
                      arf_cmpabs_2exp_si(arb_midref(ball.real()), -4096) > 0;
  if (!usable) return std::nullopt;
  fmpq_t q;
  fmpq_init(q);
  arf_get_fmpq(q, arb_midref(ball.real()));
  mpq_class value;
  fmpz_get_mpz(value.get_num_mpz_t(), fmpq_numref(q));
  fmpz_get_mpz(value.get_den_mpz_t(), fmpq_denref(q));
  fmpq_clear(q);
  return value;
}

bool all_small(const Ball& ball, long bits) {
  mag_t size;
  mag_init(size);
  acb_get_mag(size, ball.get());
  const bool small = mag_cmp_2exp_si(size, -bits) < 0;
  mag_clear(size);
  return small;
}

/// Whether two balls differ, agree in kEqualBits bits, or are too wide to tell.
Same compared(const Ball& a, const Ball& b, long precision) {
  if (!acb_is_finite(a.get()) || !acb_is_finite(b.get())) return Same::kUnknown;
  Ball difference;
  acb_sub(difference.get(), a.get(), b.get(), precision);
  if (!acb_contains_zero(difference.get())) return Same::kNo;
  if (all_small(difference, kZeroBits) && all_small(a, kZeroBits) && all_small(b, kZeroBits))
    return Same::kYes;
  if (!all_small(difference, kWholeBits)) return Same::kUnknown;
  acb_div(difference.get(), difference.get(), a.get(), precision);
  return acb_is_finite(difference.get()) && all_small(difference, kEqualBits) ? Same::kYes : Same::kUnknown;
}

/// Runs `compare(point, precision)` at one point (constants) or all, with growing precision until it can
/// tell.
template <typename Compare>
Same at_points(bool symbols, const Compare& compare) {
  int agreed = 0;
  const int points = symbols ? kPoints : 1;
  for (int point = 0; point < points; ++point) {
    Same same = Same::kUnknown;
    for (const long precision : kPrecisions) {
      same = compare(point, precision);
      if (same != Same::kUnknown) break;
    }
    if (same == Same::kNo) return same;
    if (same == Same::kYes) ++agreed;
  }
  return agreed >= std::min(points, kEnoughPoints) ? Same::kYes : Same::kUnknown;
}

Same yes_or_no(bool same) { return same ? Same::kYes : Same::kNo; }

}  // namespace

Same same_value(const Expr& gold, const Expr& answer, const Deadline& deadline) {
  deadline.poll();
  // 50% is 0.5, and 50 as well: the sign is often left out.
  if (answer.kind == Kind::kPercent || gold.kind == Kind::kPercent) {
    const bool both = gold.kind == answer.kind;
    const Expr& g = gold.kind == Kind::kPercent ? gold.args[0] : gold;
    const Expr& a = answer.kind == Kind::kPercent ? answer.args[0] : answer;
    const Same without = same_value(g, a, deadline);
    if (both || without == Same::kYes) return without;
    const auto hundredth = [](const Expr& e) {
      if (e.kind != Kind::kPercent) return e;
      Expr value = is_number(e.args[0]) ? make_number(e.args[0].number / 100)
                                        : make(Kind::kDivide, {e.args[0], make_number(100)});
      value.decimal = e.args[0].decimal;
      return value;
    };
    return same_value(hundredth(gold), hundredth(answer), deadline);
  }
  if (gold.kind == Kind::kBased && answer.kind == Kind::kBased && gold.name != answer.name) return Same::kNo;
  if (gold.kind == Kind::kBased || answer.kind == Kind::kBased) {
    return same_value(gold.kind == Kind::kBased ? gold.args[0] : gold,
                      answer.kind == Kind::kBased ? answer.args[0] : answer, deadline);
  }
  const int gold_infinity = infinity_sign(gold), answer_infinity = infinity_sign(answer);
  if (gold_infinity != 0 || answer_infinity != 0) return yes_or_no(gold_infinity == answer_infinity);
  if (gold == answer) return Same::kYes;
  const bool decimal = gold.decimal || answer.decimal;
  if (is_number(gold) && is_number(answer)) {
    if (gold.number == answer.number) return Same::kYes;
    return yes_or_no(decimal && same_rounded(gold.number, answer.number));
  }
  if (gold.kind == Kind::kSymbol && answer.kind == Kind::kSymbol) return yes_or_no(gold.name == answer.name);
  const bool symbols = has_symbols(gold) || has_symbols(answer);
  if (decimal && !symbols) {
    const auto g = is_number(gold) ? gold.number : approximation(gold, deadline);
    const auto a = is_number(answer) ? answer.number : approximation(answer, deadline);
    if (g && a && same_rounded(*g, *a)) return Same::kYes;
  }
  return at_points(symbols, [&](int point, long precision) {
    return compared(ball_of(gold, precision, point, deadline), ball_of(answer, precision, point, deadline),
                    precision);
  });
}

Same proportional(const Expr& a, const Expr& b, bool positive, const Deadline& deadline) {
  if (!has_symbols(a) && !has_symbols(b)) return same_value(a, b, deadline);
  return at_points(/*symbols=*/true, [&](int point, long precision) {
    const Ball a_here = ball_of(a, precision, point, deadline),
               b_here = ball_of(b, precision, point, deadline);
    if (point == 0) {  // where the factor comes from: only its sign is looked at
      Ball factor;
      acb_div(factor.get(), a_here.get(), b_here.get(), precision);
      if (!acb_is_finite(factor.get())) return compared(a_here, b_here, precision);
      if (acb_contains_zero(factor.get())) return Same::kUnknown;
      return positive && arb_is_negative(factor.real()) ? Same::kNo : Same::kYes;
    }
    Ball left, right;
    acb_mul(left.get(), a_here.get(), ball_of(b, precision, 0, deadline).get(), precision);
    acb_mul(right.get(), b_here.get(), ball_of(a, precision, 0, deadline).get(), precision);
    return compared(left, right, precision);
  });
}

}  // namespace r1::maths
