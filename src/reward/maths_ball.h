#pragma once
#include "maths_expr.h"  // before FLINT, which has functions for GMP's types only where gmp.h came first

// FLINT 3 holds Arb; before it Arb was a library of its own with its headers one folder up.
#if __has_include(<flint/acb.h>)
#include <flint/acb.h>
#else
#include <acb.h>
#endif

namespace r1::maths {

/// A complex number with an error bound.
class Ball {
 public:
  Ball() { acb_init(value_); }
  Ball(const Ball& other) : Ball() { acb_set(value_, other.value_); }
  Ball(Ball&& other) noexcept : Ball() { acb_swap(value_, other.value_); }
  Ball& operator=(Ball other) noexcept {
    acb_swap(value_, other.value_);
    return *this;
  }
  ~Ball() { acb_clear(value_); }
  acb_ptr get() { return value_; }
  acb_srcptr get() const { return value_; }
  arb_srcptr real() const { return acb_realref(value_); }

 private:
  acb_t value_;
};

constexpr int kPoints = 5;  ///< where expressions with symbols are compared; all symbols are positive at the
                            ///< first two, negative at the third

/// The value of a scalar expression at one of the points; not finite where it has none or cannot be told.
Ball ball_of(const Expr& expr, long precision_bits, int point, const Deadline& deadline);

}  // namespace r1::maths
