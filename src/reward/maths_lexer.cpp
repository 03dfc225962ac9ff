#include "maths_lexer.h"

#include <algorithm>
#include <array>

#include "maths_expr.h"
#include "rational.h"

namespace r1::maths {
namespace {

constexpr size_t kMaxTokens = 4000;
constexpr long kMaxExponent = 100'000;

struct Spelling {
  std::string_view from, to;
};

/// Signs that are not ASCII; `to` is a command, or one sign.
constexpr std::array<Spelling, 47> kSigns = {{
    {"\u00D7", "\\times"},    {"\u00B7", "\\cdot"},   {"\u22C5", "\\cdot"},     {"\u2217", "*"},
    {"\u00F7", "\\div"},      {"\u2215", "/"},        {"\u2044", "/"},          {"\u2013", "-"},
    {"\u2014", "-"},          {"\u2010", "-"},        {"\u221E", "\\infty"},    {"\u03C0", "\\pi"},
    {"\u221A", "\\sqrt"},     {"\u00B1", "\\pm"},     {"\u2213", "\\mp"},       {"\u2264", "\\le"},
    {"\u2265", "\\ge"},       {"\u2260", "\\ne"},     {"\u2248", "\\approx"},   {"\u2245", "\\approx"},
    {"\u222A", "\\cup"},      {"\u2229", "\\cap"},    {"\u2216", "\\setminus"}, {"\u2208", "\\in"},
    {"\u2205", "\\emptyset"}, {"\u211D", "\\R"},      {"\u2124", "\\Z"},        {"\u2115", "\\N"},
    {"\u211A", "\\Q"},        {"\u2102", "\\C"},      {"\u03B1", "\\alpha"},    {"\u03B2", "\\beta"},
    {"\u03B3", "\\gamma"},    {"\u03B4", "\\delta"},  {"\u03B8", "\\theta"},    {"\u03BB", "\\lambda"},
    {"\u03BC", "\\mu"},       {"\u03C6", "\\phi"},    {"\u03D5", "\\phi"},      {"\u03C9", "\\omega"},
    {"\u03C3", "\\sigma"},    {"\u03C1", "\\rho"},    {"\u03C4", "\\tau"},      {"\u2032", "'"},
    {"\u2019", "'"},          {"\u230A", "\\lfloor"}, {"\u230B", "\\rfloor"},
}};
/// Powers and fractions of one sign: spelt out and read again.
constexpr std::array<Spelling, 19> kSpelt = {{
    {"\u00B2", "^2"},       {"\u00B3", "^3"},       {"\u00B9", "^1"},       {"\u2070", "^0"},
    {"\u2074", "^4"},       {"\u2075", "^5"},       {"\u2076", "^6"},       {"\u2077", "^7"},
    {"\u2078", "^8"},       {"\u2079", "^9"},       {"\u207F", "^n"},       {"\u00BD", "\\frac12"},
    {"\u00BC", "\\frac14"}, {"\u00BE", "\\frac34"}, {"\u2153", "\\frac13"}, {"\u2154", "\\frac23"},
    {"\u2155", "\\frac15"}, {"\u215B", "\\frac18"}, {"\u2026", "\\ldots"},
}};
/// Words that mean a command.
constexpr std::array<Spelling, 44> kWords = {{
    {"sqrt", "sqrt"},       {"pi", "pi"},           {"sin", "sin"},
    {"cos", "cos"},         {"tan", "tan"},         {"cot", "cot"},
    {"sec", "sec"},         {"csc", "csc"},         {"arcsin", "arcsin"},
    {"arccos", "arccos"},   {"arctan", "arctan"},   {"asin", "arcsin"},
    {"acos", "arccos"},     {"atan", "arctan"},     {"sinh", "sinh"},
    {"cosh", "cosh"},       {"tanh", "tanh"},       {"log", "log"},
    {"ln", "ln"},           {"exp", "exp"},         {"abs", "abs"},
    {"inf", "infty"},       {"infinity", "infty"},  {"infty", "infty"},
    {"oo", "infty"},        {"percent", "%"},       {"percentage", "%"},
    {"pct", "%"},           {"and", ","},           {"or", ","},
    {"theta", "theta"},     {"alpha", "alpha"},     {"beta", "beta"},
    {"lambda", "lambda"},   {"hundred", "hundred"}, {"thousand", "thousand"},
    {"million", "million"}, {"billion", "billion"}, {"trillion", "trillion"},
    {"dozen", "dozen"},     {"max", "max"},         {"min", "min"},
    {"gcd", "gcd"},         {"lcm", "lcm"},
}};
/// Commands that only lay out.
constexpr std::array<std::string_view, 23> kIgnored = {
    "displaystyle", "textstyle", "limits", "big",    "Big",      "bigg",   "Bigg",  "bigl",
    "bigr",         "Bigl",      "Bigr",   "biggl",  "biggr",    "Biggl",  "Biggr", "hfill",
    "rm",           "bf",        "it",     "middle", "nolimits", "hspace", "boxed"};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (!done()) next();
    push(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  std::string_view rest() const { return text_.substr(at_); }

  void push(Token::Kind kind, std::string_view text) {
    if (tokens_.size() > kMaxTokens) throw Unreadable{};
    tokens_.push_back({kind, std::string(text), "", 0, space_});
    space_ = false;
  }

  /// A command's meaning, which may be a sign: "and" is a comma, and two commas are one.
  void push_meaning(std::string_view meaning) {
    if (meaning == "," && !tokens_.empty() && tokens_.back().is(",")) return;
    push(meaning == "," || meaning == "%" ? Token::Kind::kSign : Token::Kind::kCommand, meaning);
  }

  void next() {
    const char c = peek();
    if (is_space(c)) {
      ++at_;
      space_ = true;
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      number();
    } else if (is_letter(c)) {
      word();
    } else if (c == '\\') {
      command();
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      unicode();
    } else {
      if (std::string_view("()[]{}").find(c) != std::string_view::npos) {
        const bool opens = c == '(' || c == '[';
        if (opens) ++brackets_;
        if ((c == ')' || c == ']') && brackets_ > 0) --brackets_;
      }
      if (c == '*' && peek(1) == '*')
        ++at_, push(Token::Kind::kSign, "^");
      else if ((c == '<' || c == '>' || c == '!') && peek(1) == '=') {
        ++at_;
        push(Token::Kind::kCommand, c == '<' ? "le" : c == '>' ? "ge" : "ne");
      } else if (c == '=' && peek(1) == '=') {
        ++at_;
        push(Token::Kind::kSign, "=");
      } else {
        push(Token::Kind::kSign, std::string_view(&c, 1));
      }
      ++at_;
    }
  }

  size_t digits_at(size_t from) const {
    size_t end = from;
    while (end < text_.size() && is_digit(text_[end])) ++end;
    return end - from;
  }

  /// Digits; outside brackets with thousands groups, all of three digits: "1,234", but "(1,234)" is a pair.
  std::string whole() {
    const size_t run = digits_at(at_);
    std::string digits(text_.substr(at_, run));
    at_ += run;
    if (run == 0 || run > 3 || digits[0] == '0' || brackets_ > 0) return digits;
    const char separator = peek();
    if (separator != ',' && separator != ' ') return digits;
    size_t end = at_;
    std::string groups;
    while (end < text_.size() && text_[end] == separator && digits_at(end + 1) == 3) {
      groups += text_.substr(end + 1, 3);
      end += 4;
    }
    const bool more = end + 1 < text_.size() && text_[end] == separator && is_digit(text_[end + 1]);
    if (more || groups.empty()) return digits;
    at_ = end;
    return digits + groups;
  }

  void number() {
    Token token{Token::Kind::kNumber, whole(), "", 0, space_};
    if (peek() == '.' &&
        (is_digit(peek(1)) || rest().starts_with(".\\overline{") || rest().starts_with(".\\bar{"))) {
      ++at_;
      const size_t run = digits_at(at_);
      token.text += "." + std::string(text_.substr(at_, run));
      at_ += run;
      for (const std::string_view bar : {"\\overline{", "\\bar{", "\\overline ", "\\dot{"}) {
        const size_t repeats = rest().starts_with(bar) ? digits_at(at_ + bar.size()) : 0;
        if (repeats == 0 || peek(bar.size() + repeats) != '}') continue;
        token.repeating = std::string(text_.substr(at_ + bar.size(), repeats));
        at_ += bar.size() + repeats + 1;
      }
    }
    if ((peek() == 'e' || peek() == 'E') && token.repeating.empty()) {
      const size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
      const size_t run = digits_at(at_ + 1 + sign);
      if (run > 0 && !is_letter(peek(1 + sign + run))) {
        const auto digits = text_.substr(at_ + 1 + sign, run);
        token.exponent = run > 5 ? kMaxExponent : std::min(kMaxExponent, std::stol(std::string(digits)));
        if (peek(1) == '-') token.exponent = -token.exponent;
        at_ += 1 + sign + run;
      }
    }
    push(Token::Kind::kEnd, "");  // counts, and takes the space
    tokens_.back() = std::move(token);
  }

  void letters(std::string_view run) {
    std::string lower(run);
    for (char& c : lower) c = static_cast<char>(c | 0x20);
    const auto* known =
        std::find_if(kWords.begin(), kWords.end(), [&](const Spelling& w) { return w.from == lower; });
    if (known != kWords.end()) return push_meaning(known->to);
    const bool capitals = std::none_of(run.begin(), run.end(), [](char c) { return c >= 'a'; });
    const bool capitalised = run[0] < 'a' && run.size() >= 3;
    if (run.size() == 1 || run.size() >= 4 || capitals || capitalised)
      return push(Token::Kind::kSymbol, lower);
    for (const char c : lower) push(Token::Kind::kSymbol, std::string_view(&c, 1));
  }

  void word() {
    const size_t start = at_;
    while (is_letter(peek())) ++at_;
    letters(text_.substr(start, at_ - start));
  }

  void command() {
    if (!is_letter(peek(1))) {
      push(Token::Kind::kSign, rest().substr(0, std::min<size_t>(2, rest().size())));
      at_ += tokens_.back().text.size();
      return;
    }
    const size_t start = ++at_;
    while (is_letter(peek())) ++at_;
    const auto name = text_.substr(start, at_ - start);
    if (std::find(kIgnored.begin(), kIgnored.end(), name) != kIgnored.end()) return;
    if (name == "textnormal" || name == "operatorname" || name == "textsf" || name == "texttt" ||
        name == "rm") {
      const size_t close = text_.find('}', at_);
      if (peek() != '{' || close == std::string_view::npos) throw Unreadable{};
      const auto inside = trimmed(text_.substr(at_ + 1, close - at_ - 1));
      at_ = close + 1;
      if (!inside.empty() && std::all_of(inside.begin(), inside.end(), is_letter)) return letters(inside);
      throw Unreadable{};
    }
    push(Token::Kind::kCommand, name);
  }

  void unicode() {
    for (const auto& [from, to] : kSigns) {
      if (!rest().starts_with(from)) continue;
      at_ += from.size();
      if (to[0] == '\\') return push(Token::Kind::kCommand, to.substr(1));
      return push(Token::Kind::kSign, to);
    }
    for (const auto& [from, to] : kSpelt) {
      if (!rest().starts_with(from)) continue;
      at_ += from.size();
      Lexer inner(to);
      for (auto& token : inner.run()) {
        if (token.kind == Token::Kind::kEnd) continue;
        push(Token::Kind::kEnd, "");
        tokens_.back() = std::move(token);
      }
      return;
    }
    const size_t start = at_;  // a word of another script is a symbol
    while (static_cast<unsigned char>(peek()) >= 0x80) ++at_;
    push(Token::Kind::kSymbol, text_.substr(start, at_ - start));
  }

  std::string_view text_;
  size_t at_ = 0;
  int brackets_ = 0;
  bool space_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view text) { return Lexer(text).run(); }

}  // namespace r1::maths
