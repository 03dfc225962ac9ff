#include "maths_expr.h"

#include <algorithm>

namespace r1::maths {
namespace {

bool has_sign(const Expr& e) {
  return e.kind == Kind::kPlusMinus || std::any_of(e.args.begin(), e.args.end(), has_sign);
}

Expr with_sign(const Expr& e, bool upper) {
  Expr copy = e;
  for (Expr& arg : copy.args) arg = with_sign(arg, upper);
  if (e.kind != Kind::kPlusMinus) return copy;
  if (e.upper != upper) copy.args[1] = make(Kind::kNegate, {std::move(copy.args[1])});
  copy.kind = Kind::kAdd;
  return copy;
}

}  // namespace

bool operator==(const Expr& a, const Expr& b) {
  return a.kind == b.kind && a.upper == b.upper && a.left_open == b.left_open &&
         a.right_open == b.right_open && a.name == b.name && a.number == b.number && a.args == b.args;
}

Expr make(Kind kind, std::vector<Expr> args, std::string name) {
  Expr e;
  e.kind = kind;
  e.args = std::move(args);
  e.name = std::move(name);
  return e;
}

Expr make_number(mpq_class value) {
  Expr e;
  e.number = std::move(value);
  return e;
}

std::vector<Expr> signs_of(const Expr& expr) {
  if (!has_sign(expr)) return {expr};
  return {with_sign(expr, true), with_sign(expr, false)};
}

bool has_symbols(const Expr& e) {
  return e.kind == Kind::kSymbol || (e.kind == Kind::kFunction && e.name.starts_with("call ")) ||
         std::any_of(e.args.begin(), e.args.end(), has_symbols);
}

int infinity_sign(const Expr& e) {
  if (e.kind == Kind::kInfinity) return 1;
  return e.kind == Kind::kNegate ? -infinity_sign(e.args[0]) : 0;
}

}  // namespace r1::maths
