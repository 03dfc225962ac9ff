// The parser's atoms: numbers, symbols, commands.
#include <algorithm>
#include <array>
#include <map>

#include "maths_parser.h"

namespace r1::maths {
namespace {

constexpr size_t kMaxColumns = 64;

constexpr std::array<std::string_view, 32> kFunctions = {
    "sin",  "cos",  "tan",  "cot",    "sec",    "csc",    "arcsin",  "arccos",  "arctan",  "arccot", "sinh",
    "cosh", "tanh", "coth", "arsinh", "arcosh", "artanh", "arcsinh", "arccosh", "arctanh", "log",    "ln",
    "lg",   "exp",  "abs",  "det",    "gcd",    "lcm",    "max",     "min",     "floor",   "ceil"};
const std::map<std::string_view, Kind> kConstants = {
    {"pi", Kind::kPi}, {"infty", Kind::kInfinity}, {"imath", Kind::kI}};
const std::map<std::string_view, long> kScales = {
    {"dozen", 12},          {"hundred", 100},           {"thousand", 1000},
    {"million", 1'000'000}, {"billion", 1'000'000'000}, {"trillion", 1'000'000'000'000}};

Expr everything() {
  Expr minus = make(Kind::kNegate, {make(Kind::kInfinity)});
  return make(Kind::kInterval, {std::move(minus), make(Kind::kInfinity)});
}

mpz_class power_of_ten(size_t exponent) {
  mpz_class power;
  mpz_ui_pow_ui(power.get_mpz_t(), 10, exponent);
  return power;
}

}  // namespace

bool is_function(const Token& token) {
  return token.kind == Token::Kind::kCommand &&
         std::find(kFunctions.begin(), kFunctions.end(), token.text) != kFunctions.end();
}

Expr Parser::number() {
  const Token& token = tokens_[at_++];
  if (token.kind != Token::Kind::kNumber) throw Unreadable{};
  const size_t point = token.text.find('.');
  std::string digits = token.text;
  size_t decimals = 0;
  if (point != std::string::npos) {
    digits.erase(point, 1);
    decimals = digits.size() - point;
  }
  if (digits.empty()) digits = "0";
  mpq_class value(mpz_class(digits, 10), power_of_ten(decimals));
  if (!token.repeating.empty()) {  // 0.1\overline{6} = 0.1 + 6 / 90
    const mpz_class nines = power_of_ten(token.repeating.size()) - 1;
    value += mpq_class(mpz_class(token.repeating, 10), nines * power_of_ten(decimals));
  }
  value.canonicalize();
  if (token.exponent > 0) value *= power_of_ten(static_cast<size_t>(token.exponent));
  if (token.exponent < 0) value /= power_of_ten(static_cast<size_t>(-token.exponent));
  Expr expr = make_number(std::move(value));
  expr.decimal = (point != std::string::npos && token.repeating.empty()) || token.exponent != 0;
  return expr;
}

std::string Parser::subscript() {
  expect("_");
  std::string text;
  const auto add = [&] {
    if (peek().kind == Token::Kind::kEnd) throw Unreadable{};
    text += tokens_[at_++].text;
  };
  if (take("{")) {
    while (!take("}")) add();
  } else {
    add();
  }
  return text;
}

Expr Parser::symbol() {
  std::string name = tokens_[at_++].text;
  const std::string letter = name;
  if (peek().is("_")) name += "_" + subscript();
  while (take("'")) name += "'";
  if ((letter == "f" || letter == "g") && peek().is("(") && !peek().space_before) {
    ++at_;
    Expr call = make(Kind::kFunction, elements(/*both_signs_of_one=*/false), "call " + name);
    expect(")");
    return call;
  }
  if (name == "e") return make(Kind::kE);
  if (name == "i") return make(Kind::kI);
  return make(Kind::kSymbol, {}, name);
}

/// One argument of a command: {...}, one digit, or an atom.
Expr Parser::argument() {
  const Nested nested(depth_);
  if (peek().kind == Token::Kind::kNumber && peek().text.size() > 1 &&
      peek().text.find('.') == std::string::npos) {
    Token& token = tokens_[at_];
    Token digit = token;
    digit.text.resize(1);
    token.text.erase(0, 1);
    token.space_before = false;
    return make_number(mpq_class(digit.text[0] - '0'));
  }
  return atom();
}

Expr Parser::root() {
  Expr index = make_number(2);
  if (take("[")) {
    index = sum();
    expect("]");
  }
  Expr radicand = argument();
  return make(Kind::kRoot, {std::move(radicand), std::move(index)});
}

Expr Parser::enclosed(std::string_view function, std::string_view closing_command) {
  const bool bar = closing_command.empty();
  if (bar) ++open_bars_;
  Expr inside = sum();
  if (bar) --open_bars_;
  if (!(bar ? take("|") : take_command(closing_command))) throw Unreadable{};
  return make(Kind::kFunction, {std::move(inside)}, std::string(function));
}

/// \sin^2 x, \log_2 8, \sin(x), \sin 2x \cos x: without brackets the argument ends before the next function.
Expr Parser::function(const std::string& name) {
  Expr base = make_number(10);
  if (name == "ln") base = make(Kind::kE);
  if (name == "log" && take("_")) base = argument();
  Expr outer;
  bool has_power = false;
  std::string known = name;
  if (take("^")) {
    outer = exponent();
    has_power = true;
    const bool inverse =
        outer.kind == Kind::kNegate && outer.args[0].kind == Kind::kNumber && outer.args[0].number == 1;
    if (inverse) {
      known = "arc" + name;
      has_power = false;
    }
  }
  if (name == "log" && take("_")) base = argument();
  const bool trigonometry =
      std::exchange(in_trigonometry_, name == "sin" || name == "cos" || name == "tan" || name == "cot" ||
                                          name == "sec" || name == "csc");
  std::vector<Expr> args;
  if (peek().is("(") || peek().is("{")) {
    const bool round = tokens_[at_++].is("(");
    const int bars = std::exchange(open_bars_, 0);
    args = elements(/*both_signs_of_one=*/false);
    open_bars_ = bars;
    expect(round ? ")" : "}");
  } else {
    args.push_back(peek().is("-") ? signed_factors() : factors(/*stops_at_function=*/true));
  }
  in_trigonometry_ = trigonometry;
  if (name == "log" || name == "ln" || name == "lg") {
    known = "log";
    args.push_back(std::move(base));
  }
  Expr call = make(Kind::kFunction, std::move(args), known);
  return has_power ? make(Kind::kPower, {std::move(call), std::move(outer)}) : call;
}

Expr Parser::matrix() {
  const auto name = [&] {
    expect("{");
    std::string word;
    while (!take("}")) {
      if (peek().kind == Token::Kind::kEnd) throw Unreadable{};
      word += tokens_[at_++].text;
    }
    return word;
  };
  const std::string environment = name();
  if (environment == "array") name();
  if (environment != "array" && environment != "matrix" && environment != "pmatrix" &&
      environment != "bmatrix" && environment != "smallmatrix") {
    throw Unreadable{};
  }
  const int bars = std::exchange(open_bars_, 0);
  std::vector<Expr> rows(1, make(Kind::kTuple));
  while (!take_command("end")) {
    if (take("\\\\")) {
      if (!peek().is_command("end")) rows.push_back(make(Kind::kTuple));
    } else if (take("&")) {
      if (rows.back().args.size() > kMaxColumns) throw Unreadable{};
    } else {
      rows.back().args.push_back(sum());
    }
  }
  open_bars_ = bars;
  if (name() != environment) throw Unreadable{};
  for (const Expr& row : rows) {
    if (row.args.empty() || row.args.size() != rows[0].args.size()) throw Unreadable{};
  }
  return make(Kind::kMatrix, std::move(rows));
}

Expr Parser::command() {
  const std::string name = tokens_[at_].text;
  if (is_function(tokens_[at_])) {
    ++at_;
    return function(name);
  }
  if (!starts_atom()) throw Unreadable{};
  ++at_;
  return known_command(name);
}

Expr Parser::known_command(const std::string& name) {
  if (name == "frac") {
    Expr above = argument();
    return make(Kind::kDivide, {std::move(above), argument()});
  }
  if (name == "sqrt") return root();
  if (name == "binom" || name == "dbinom" || name == "tbinom") {
    Expr above = argument();
    return make(Kind::kFunction, {std::move(above), argument()}, "binom");
  }
  if (name == "begin") return matrix();
  if (name == "lfloor") return enclosed("floor", "rfloor");
  if (name == "lceil") return enclosed("ceil", "rceil");
  if (name == "lvert") return enclosed("abs", "rvert");
  if (name == "langle") {
    auto parts = elements(/*both_signs_of_one=*/false);
    if (!take_command("rangle")) throw Unreadable{};
    return make(Kind::kTuple, std::move(parts));
  }
  if (name == "emptyset" || name == "varnothing") return make(Kind::kList);
  if (name == "R") return everything();
  if (name == "mathbb") {
    const Expr letter = argument();
    if (letter.kind == Kind::kSymbol && letter.name == "r") return everything();
    return make(Kind::kSymbol, {}, "mathbb " + letter.name);
  }
  if (const auto constant = kConstants.find(name); constant != kConstants.end())
    return make(constant->second);
  if (const auto scale = kScales.find(name); scale != kScales.end())
    return make_number(mpq_class(scale->second));
  if (name == "overline" || name == "bar" || name == "vec" || name == "hat" || name == "tilde" ||
      name == "overrightarrow") {
    Expr inside = argument();
    return make(Kind::kFunction, {std::move(inside)}, "call " + name);
  }
  if (name == "begin" || name == "sum" || name == "int" || name == "prod" || name == "lim" ||
      name == "left" || name == "right")
    throw Unreadable{};
  std::string full = name.starts_with("var") ? name.substr(3) : name;
  if (peek().is("_")) full += "_" + subscript();
  while (take("'")) full += "'";
  return make(Kind::kSymbol, {}, full);
}

}  // namespace r1::maths
