// Sets of real numbers as sorted spans that do not touch.
#include <algorithm>
#include <optional>

#include "maths_ball.h"

namespace r1::maths {
namespace {

/// From `low` to `high`; a point when both are equal and closed.
struct Span {
  Expr low, high;
  bool low_open = true, high_open = true;
};
using Spans = std::vector<Span>;

/// Thrown where ends cannot be ordered: they hold symbols, or are too close to tell.
struct NoOrder {};

class Algebra {
 public:
  explicit Algebra(const Deadline& deadline) : deadline_(deadline) {}

  /// Nothing for what is no set of reals.
  std::optional<Spans> spans(const Expr& e) {
    switch (e.kind) {
      case Kind::kInterval:
        if (order(e.args[0], e.args[1]) > 0) return std::nullopt;
        return merged({{e.args[0], e.args[1], e.left_open, e.right_open}});
      case Kind::kList: {
        Spans points;
        for (const Expr& element : e.args) {
          if (!is_scalar(element)) return std::nullopt;
          points.push_back({element, element, false, false});
        }
        return merged(std::move(points));
      }
      case Kind::kUnion: {
        Spans all;
        for (const Expr& part : e.args) {
          auto more = spans(part);
          if (!more) return std::nullopt;
          for (Span& span : *more) all.push_back(std::move(span));
        }
        return merged(std::move(all));
      }
      case Kind::kIntersection:
      case Kind::kDifference: {
        auto left = spans(e.args[0]), right = spans(e.args[1]);
        if (!left || !right) return std::nullopt;
        return intersection(*left, e.kind == Kind::kDifference ? complement(*right) : *right);
      }
      default:
        if (!is_scalar(e)) return std::nullopt;
        return Spans{{e, e, false, false}};
    }
  }

  Same same(const Spans& a, const Spans& b) {
    if (a.size() != b.size()) return Same::kNo;
    for (size_t i = 0; i < a.size(); ++i) {
      if (a[i].low_open != b[i].low_open || a[i].high_open != b[i].high_open) return Same::kNo;
      for (const Same same :
           {same_value(a[i].low, b[i].low, deadline_), same_value(a[i].high, b[i].high, deadline_)}) {
        if (same != Same::kYes) return same;
      }
    }
    return Same::kYes;
  }

 private:
  static bool is_scalar(const Expr& e) { return e.kind < Kind::kList && !has_symbols(e); }

  int order(const Expr& a, const Expr& b) {
    deadline_.poll();
    const int left = infinity_sign(a), right = infinity_sign(b);
    if (left != 0 || right != 0) return left - right;
    if (!is_scalar(a) || !is_scalar(b)) throw NoOrder{};
    if (a.kind == Kind::kNumber && b.kind == Kind::kNumber) return cmp(a.number, b.number);
    const Same same = same_value(a, b, deadline_);
    if (same == Same::kYes) return 0;
    const Ball x = ball_of(a, 384, 0, deadline_), y = ball_of(b, 384, 0, deadline_);
    if (same == Same::kUnknown || !acb_is_real(x.get()) || !acb_is_real(y.get())) throw NoOrder{};
    if (arb_lt(x.real(), y.real())) return -1;
    if (arb_gt(x.real(), y.real())) return 1;
    throw NoOrder{};
  }

  bool empty(const Span& s) {
    const int ends = order(s.low, s.high);
    return ends > 0 || (ends == 0 && (s.low_open || s.high_open));
  }

  Spans merged(Spans all) {
    std::erase_if(all, [&](const Span& s) { return empty(s); });
    // An insertion sort: an order that contradicts itself must not confuse std::sort.
    for (size_t i = 1; i < all.size(); ++i) {
      for (size_t j = i; j > 0 && starts_before(all[j], all[j - 1]); --j) std::swap(all[j], all[j - 1]);
    }
    Spans out;
    for (Span& span : all) {
      if (out.empty() || !touches(out.back(), span)) {
        out.push_back(std::move(span));
        continue;
      }
      Span& last = out.back();
      const int ends = order(last.high, span.high);
      if (ends < 0) last.high_open = span.high_open, last.high = std::move(span.high);
      if (ends == 0) last.high_open = last.high_open && span.high_open;
    }
    return out;
  }

  bool starts_before(const Span& a, const Span& b) {
    const int starts = order(a.low, b.low);
    return starts < 0 || (starts == 0 && !a.low_open && b.low_open);
  }

  bool touches(const Span& left, const Span& right) {
    const int gap = order(left.high, right.low);
    return gap > 0 || (gap == 0 && !(left.high_open && right.low_open));
  }

  Spans intersection(const Spans& a, const Spans& b) {
    Spans all;
    for (const Span& x : a) {
      for (const Span& y : b) {
        const int lows = order(x.low, y.low), highs = order(x.high, y.high);
        Span both = {lows > 0 ? x.low : y.low, highs < 0 ? x.high : y.high,
                     lows > 0 ? x.low_open : y.low_open, highs < 0 ? x.high_open : y.high_open};
        if (lows == 0) both.low_open = x.low_open || y.low_open;
        if (highs == 0) both.high_open = x.high_open || y.high_open;
        if (!empty(both)) all.push_back(std::move(both));
      }
    }
    return merged(std::move(all));
  }

  static Spans complement(const Spans& spans) {
    Spans out;
    Span gap = {make(Kind::kNegate, {make(Kind::kInfinity)}), make(Kind::kInfinity), true, true};
    for (const Span& s : spans) {
      Span before = gap;
      before.high = s.low;
      before.high_open = !s.low_open;
      if (infinity_sign(s.low) >= 0) out.push_back(std::move(before));
      gap.low = s.high;
      gap.low_open = !s.high_open;
    }
    if (spans.empty() || infinity_sign(spans.back().high) <= 0) out.push_back(std::move(gap));
    return out;
  }

  const Deadline& deadline_;
};

}  // namespace

Same same_set(const Expr& gold, const Expr& answer, const Deadline& deadline) {
  try {
    Algebra algebra(deadline);
    const auto g = algebra.spans(gold), a = algebra.spans(answer);
    if (g && a) return algebra.same(*g, *a);
  } catch (const NoOrder&) {
  }
  return Same::kUnknown;
}

Expr as_set(const Expr& relation) {
  const auto& args = relation.args;
  const auto is_symbol = [](const Expr& e) { return e.kind == Kind::kSymbol; };
  if (relation.kind != Kind::kRelation || args.size() > 3 ||
      std::count_if(args.begin(), args.end(), has_symbols) != 1) {
    return relation;
  }
  const auto symbol = static_cast<size_t>(std::find_if(args.begin(), args.end(), is_symbol) - args.begin());
  if (symbol == args.size() || (args.size() == 3 && symbol != 1)) return relation;
  Expr low = make(Kind::kNegate, {make(Kind::kInfinity)}), high = make(Kind::kInfinity);
  Expr set = make(Kind::kInterval, {low, high});
  for (size_t i = 0; i < args.size(); ++i) {
    if (i == symbol) continue;
    char sign = relation.name[std::min(i, symbol)];
    if (sign == '=') return relation;
    if (sign == '!')
      return args.size() == 2 ? make(Kind::kDifference, {set, make(Kind::kList, {args[i]})}) : relation;
    const bool is_low = (sign == '>' || sign == 'g') == (i > symbol);
    if (infinity_sign(set.args[is_low ? 0 : 1]) == 0) return relation;  // two bounds on the same side
    set.args[is_low ? 0 : 1] = args[i];
    (is_low ? set.left_open : set.right_open) = sign == '<' || sign == '>';
  }
  return set;
}

}  // namespace r1::maths
