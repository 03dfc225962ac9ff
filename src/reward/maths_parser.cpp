#include "maths_parser.h"

#include <algorithm>
#include <array>

namespace r1::maths {
namespace {

constexpr size_t kMaxBytes = 10'000;

/// Commands that stand between two operands or close a bracket: no factor begins with them.
constexpr std::array<std::string_view, 39> kOperators = {
    "cdot",     "times",     "div",    "pm",    "mp",    "le",     "leq",    "leqslant", "ge",   "geq",
    "geqslant", "lt",        "gt",     "ne",    "neq",   "in",     "approx", "equiv",    "cup",  "cap",
    "setminus", "backslash", "rfloor", "rceil", "rvert", "rangle", "end",    "mod",      "bmod", "pmod",
    "to",       "mid",       "ldots",  "dots",  "cdots", "circ",   "ast",    "sim",      "colon"};

bool is_integer_literal(const Expr& e) {
  return e.kind == Kind::kNumber && !e.decimal && e.number.get_den() == 1 && sgn(e.number) >= 0;
}

}  // namespace

bool Parser::take(std::string_view sign) {
  if (!peek().is(sign)) return false;
  ++at_;
  return true;
}

bool Parser::take_command(std::string_view name) {
  if (!peek().is_command(name)) return false;
  ++at_;
  return true;
}

void Parser::expect(std::string_view sign) {
  if (!take(sign)) throw Unreadable{};
}

bool Parser::starts_atom() const {
  const Token& token = peek();
  switch (token.kind) {
    case Token::Kind::kNumber:
    case Token::Kind::kSymbol:
      return true;
    case Token::Kind::kCommand:
      return std::find(kOperators.begin(), kOperators.end(), token.text) == kOperators.end();
    case Token::Kind::kSign:
      return token.is("(") || token.is("[") || token.is("{") || token.is("\\{") ||
             (token.is("|") && open_bars_ == 0);
    case Token::Kind::kEnd:
      break;
  }
  return false;
}

Expr Parser::whole() {
  auto parts = elements(/*both_signs_of_one=*/true);
  if (peek().kind != Token::Kind::kEnd) throw Unreadable{};
  return parts.size() == 1 ? std::move(parts[0]) : make(Kind::kList, std::move(parts));
}

/// A ";" between elements that hold commas makes tuples of them: "1, 2; 3, 4". Of an element with +- both
/// values; of a lone one in brackets that is left to what the brackets are part of.
std::vector<Expr> Parser::elements(bool both_signs_of_one) {
  const Nested nested(depth_);
  std::vector<std::vector<Expr>> groups(1);
  while (true) {
    groups.back().push_back(relation());
    if (take(";")) {
      groups.emplace_back();
    } else if (!take(",")) {
      break;
    }
  }
  if (groups.size() == 1 && groups[0].size() == 1 && !both_signs_of_one) return std::move(groups[0]);
  const bool tuples = groups.size() > 1 &&
                      std::any_of(groups.begin(), groups.end(), [](const auto& g) { return g.size() > 1; });
  std::vector<Expr> flat;
  for (auto& group : groups) {
    std::vector<Expr> all;
    for (const Expr& element : group) {
      for (Expr& value : signs_of(element)) all.push_back(std::move(value));
    }
    if (tuples) {
      flat.push_back(make(Kind::kTuple, std::move(all)));
    } else {
      for (Expr& value : all) flat.push_back(std::move(value));
    }
  }
  return flat;
}

char Parser::relation_sign() {
  const Token& token = peek();
  if (token.is("=") || token.is("<") || token.is(">")) return token.text[0];
  if (token.kind != Token::Kind::kCommand) return '\0';
  for (const auto& [name, sign] : std::initializer_list<std::pair<std::string_view, char>>{{"le", 'l'},
                                                                                           {"leq", 'l'},
                                                                                           {"leqslant", 'l'},
                                                                                           {"ge", 'g'},
                                                                                           {"geq", 'g'},
                                                                                           {"geqslant", 'g'},
                                                                                           {"lt", '<'},
                                                                                           {"gt", '>'},
                                                                                           {"ne", '!'},
                                                                                           {"neq", '!'},
                                                                                           {"in", '='},
                                                                                           {"equiv", '='},
                                                                                           {"approx", '~'}}) {
    if (token.text == name) return sign;
  }
  return '\0';
}

Expr Parser::relation() {
  take_command("approx");  // "\approx 8.24"
  Expr first = unions();
  if (relation_sign() == '\0') return first;
  Expr all = make(Kind::kRelation, {std::move(first)});
  while (const char sign = relation_sign()) {
    ++at_;
    Expr next = unions();
    // Of "2/3 \approx 0.67" the exact side counts; "x \approx 0.67" is an equation.
    if (sign == '~' && !has_symbols(all)) continue;
    all.name += sign == '~' ? '=' : sign;
    auto signs = signs_of(next);
    all.args.push_back(signs.size() == 1 ? std::move(next) : make(Kind::kList, std::move(signs)));
  }
  return all.args.size() == 1 ? Expr(std::move(all.args[0])) : all;
}

Expr Parser::unions() {
  Expr left = sum();
  int pairs = 0;
  while (true) {
    deadline_.poll();
    Kind kind;
    if (take_command("cup")) {
      kind = Kind::kUnion;
    } else if (take_command("cap")) {
      kind = Kind::kIntersection;
    } else if (take_command("setminus") || take_command("backslash")) {
      kind = Kind::kDifference;
    } else {
      return left;
    }
    Expr right = sum();
    if (kind == Kind::kUnion && left.kind == Kind::kUnion) {
      left.args.push_back(std::move(right));
    } else {
      if (++pairs > kMaxDepth) throw Unreadable{};  // the tree grows to the left
      left = make(kind, {std::move(left), std::move(right)});
    }
  }
}

Expr Parser::sum() {
  std::vector<Expr> terms;
  int signs = 0;
  if (peek().is_command("pm") || peek().is_command("mp")) {
    terms.push_back(make_number(0));
  } else {
    terms.push_back(product());
  }
  while (true) {
    deadline_.poll();
    if (take("+")) {
      terms.push_back(product());
    } else if (take("-")) {
      terms.push_back(make(Kind::kNegate, {product()}));
    } else if (peek().is_command("pm") || peek().is_command("mp")) {
      if (++signs > kMaxDepth) throw Unreadable{};
      const bool upper = tokens_[at_++].text == "pm";
      Expr left = terms.size() == 1 ? std::move(terms[0]) : make(Kind::kAdd, std::move(terms));
      Expr both = make(Kind::kPlusMinus, {std::move(left), product()});
      both.upper = upper;
      terms.clear();
      terms.push_back(std::move(both));
    } else {
      break;
    }
  }
  return terms.size() == 1 ? Expr(std::move(terms[0])) : make(Kind::kAdd, std::move(terms));
}

Expr Parser::product() {
  Expr left = signed_factors();
  int divisions = 0;
  while (true) {
    if (take("*") || take_command("cdot") || take_command("times") || take_command("ast")) {
      Expr right = signed_factors();
      if (left.kind == Kind::kMultiply) {
        left.args.push_back(std::move(right));
      } else {
        left = make(Kind::kMultiply, {std::move(left), std::move(right)});
      }
    } else if (take("/") || take(":") || take_command("div") || take_command("colon")) {
      if (++divisions > kMaxDepth) throw Unreadable{};
      left = make(Kind::kDivide, {std::move(left), signed_factors()});
    } else {
      return left;
    }
  }
}

Expr Parser::signed_factors() {
  bool negative = false;
  while (peek().is("-") || peek().is("+")) negative ^= tokens_[at_++].is("-");
  Expr value = factors(/*stops_at_function=*/false);
  return negative ? make(Kind::kNegate, {std::move(value)}) : value;
}

/// Side by side means times, but an integer and a fraction are a mixed number: 3\frac{1}{2}, 3 1/2.
Expr Parser::factors(bool stops_at_function) {
  const Nested nested(depth_);
  std::vector<Expr> all;
  while (starts_atom()) {
    deadline_.poll();
    if (stops_at_function && !all.empty() && is_function(peek())) break;
    const bool literal = peek().kind == Token::Kind::kNumber, is_fraction = peek().is_command("frac");
    const bool apart = peek().space_before;
    Expr next = power();
    if (!all.empty() && is_integer_literal(all.back())) {
      if (is_fraction && next.kind == Kind::kDivide && is_integer_literal(next.args[0]) &&
          is_integer_literal(next.args[1])) {
        all.back() = make(Kind::kAdd, {std::move(all.back()), std::move(next)});
        continue;
      }
      if (literal && apart && all.size() == 1 && is_integer_literal(next) && peek().is("/") &&
          peek(1).kind == Token::Kind::kNumber && peek(2).kind != Token::Kind::kSymbol) {
        ++at_;
        next = make(Kind::kDivide, {std::move(next), number()});
        return make(Kind::kAdd, {std::move(all.back()), std::move(next)});
      }
      if (literal) throw Unreadable{};  // "5 3"
    }
    all.push_back(std::move(next));
  }
  if (all.empty()) throw Unreadable{};
  return all.size() == 1 ? Expr(std::move(all[0])) : make(Kind::kMultiply, std::move(all));
}

Expr Parser::power() {
  Expr value = atom();
  int levels = 0;
  while (true) {
    if (++levels > kMaxDepth) throw Unreadable{};
    if (take("!")) {
      value = make(Kind::kFunction, {std::move(value)}, "!");
    } else if (take("%")) {
      value = make(Kind::kPercent, {std::move(value)});
    } else if (peek().is_command("circ") || (peek().is("^") && peek(1).is_command("circ"))) {
      at_ += peek().is("^") ? 2 : 1;
      if (in_trigonometry_)
        value = make(Kind::kDivide,
                     {make(Kind::kMultiply, {std::move(value), make(Kind::kPi)}), make_number(180)});
    } else if (peek().is("_") && value.kind == Kind::kNumber) {
      value = make(Kind::kBased, {std::move(value)}, subscript());
    } else if (take("^")) {
      value = make(Kind::kPower, {std::move(value), exponent()});
    } else {
      return value;
    }
  }
}

Expr Parser::exponent() {
  const Nested nested(depth_);
  bool negative = false;
  while (peek().is("-") || peek().is("+")) negative ^= tokens_[at_++].is("-");
  if (!starts_atom()) throw Unreadable{};
  Expr value = atom();
  if (take("!")) value = make(Kind::kFunction, {std::move(value)}, "!");
  if (take("^")) value = make(Kind::kPower, {std::move(value), exponent()});
  return negative ? make(Kind::kNegate, {std::move(value)}) : value;
}

Expr Parser::atom() {
  const Nested nested(depth_);
  switch (peek().kind) {
    case Token::Kind::kNumber:
      return number();
    case Token::Kind::kSymbol:
      return symbol();
    case Token::Kind::kCommand:
      return command();
    case Token::Kind::kSign:
      break;
    case Token::Kind::kEnd:
      throw Unreadable{};
  }
  if (peek().is("(") || peek().is("[")) return brackets();
  if (take("{")) return braces("}");
  if (take("\\{")) return braces("\\}");
  if (take("|")) return enclosed("abs", "");
  throw Unreadable{};
}

/// (a) groups, (a, b) [a, b) are intervals, (a, b, c) is a tuple.
Expr Parser::brackets() {
  const bool round = tokens_[at_++].is("(");
  const int bars = std::exchange(open_bars_, 0);
  auto parts = elements(/*both_signs_of_one=*/false);
  open_bars_ = bars;
  const bool right_round = peek().is(")");
  if (!right_round && !peek().is("]")) throw Unreadable{};
  ++at_;
  if (parts.size() == 1 && round == right_round) return std::move(parts[0]);
  if (parts.size() == 2) {
    Expr interval = make(Kind::kInterval, std::move(parts));
    interval.left_open = round;
    interval.right_open = right_round;
    return interval;
  }
  if (parts.size() < 2 || round != right_round) throw Unreadable{};
  return make(Kind::kTuple, std::move(parts));
}

/// {a} groups; \{a\}, \{a, b\} and {a, b} are sets.
Expr Parser::braces(std::string_view close) {
  if (take(close)) return make(Kind::kList);
  const int bars = std::exchange(open_bars_, 0);
  auto parts = elements(/*both_signs_of_one=*/close == "\\}");
  open_bars_ = bars;
  expect(close);
  if (parts.size() == 1 && close == "}") return std::move(parts[0]);
  return make(Kind::kList, std::move(parts));
}

Expr read_maths(std::string_view text, const Deadline& deadline) {
  if (text.size() > kMaxBytes) throw Unreadable{};
  Expr expr = Parser(text, deadline).whole();
  fold(expr, deadline);
  return expr;
}

}  // namespace r1::maths
