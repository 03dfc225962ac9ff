// What two answers have to share to mean the same: by their structure, down to scalars.
#include <algorithm>
#include <string_view>

#include "maths_expr.h"

namespace r1::maths {
namespace {

bool is_equation(const Expr& e) {
  return e.kind == Kind::kRelation && e.name.find_first_not_of('=') == std::string::npos;
}

/// x, f(x), (x, y): what "x = 5" may define.
bool is_name(const Expr& e) {
  const bool holds = e.kind == Kind::kTuple || e.kind == Kind::kInterval || e.kind == Kind::kMultiply ||
                     (e.kind == Kind::kFunction && e.name.starts_with("call "));
  return e.kind == Kind::kSymbol || e.kind == Kind::kE ||
         (holds && std::all_of(e.args.begin(), e.args.end(), is_name));
}

bool is_assignment(const Expr& e) { return is_equation(e) && is_name(e.args[0]); }

bool is_set(const Expr& e) {
  return e.kind == Kind::kInterval || e.kind == Kind::kUnion || e.kind == Kind::kIntersection ||
         e.kind == Kind::kDifference;
}

bool is_scalar(const Expr& e) { return e.kind < Kind::kList; }
bool is_open(const Expr& e) { return e.kind == Kind::kInterval && e.left_open && e.right_open; }

/// Elements that stand one after another: of lists, tuples and points; a scalar is a list of one.
bool is_sequence(const Expr& e) {
  return is_scalar(e) || e.kind == Kind::kList || e.kind == Kind::kTuple || is_open(e) ||
         e.kind == Kind::kRelation || e.kind == Kind::kMatrix;
}

using Elements = std::vector<const Expr*>;

Elements elements_of(const Expr& e) {
  if (e.kind != Kind::kList && e.kind != Kind::kTuple && e.kind != Kind::kInterval) return {&e};
  Elements all;
  for (const Expr& arg : e.args) all.push_back(&arg);
  return all;
}

/// kNo when one is kNo, else kUnknown when one is kUnknown.
class All {
 public:
  bool add(Same same) {  // false: the rest cannot change it
    if (same != Same::kYes) all = same;
    return same != Same::kNo;
  }
  Same all = Same::kYes;
};

Same in_order(const Elements& gold, const Elements& answer, const Deadline& deadline) {
  if (gold.size() != answer.size()) return Same::kNo;
  All same;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!same.add(same_meaning(*gold[i], *answer[i], deadline))) break;
  }
  return same.all;
}

Elements without_repeats(const Elements& all, const Deadline& deadline) {
  Elements once;
  for (const Expr* e : all) {
    const auto equal = [&](const Expr* other) { return same_meaning(*other, *e, deadline) == Same::kYes; };
    if (std::none_of(once.begin(), once.end(), equal)) once.push_back(e);
  }
  return once;
}

Same in_any_order(const Elements& gold_all, const Elements& answer_all, const Deadline& deadline) {
  const Elements gold = without_repeats(gold_all, deadline);
  Elements answer = without_repeats(answer_all, deadline);
  if (gold.size() != answer.size()) return Same::kNo;
  bool unknown = false;
  for (const Expr* wanted : gold) {
    bool may_be_there = false;
    const auto found = std::find_if(answer.begin(), answer.end(), [&](const Expr* e) {
      const Same same = same_meaning(*wanted, *e, deadline);
      may_be_there |= same == Same::kUnknown;
      return same == Same::kYes;
    });
    if (found != answer.end()) {
      answer.erase(found);
    } else if (may_be_there) {
      unknown = true;
    } else {
      return Same::kNo;
    }
  }
  return unknown ? Same::kUnknown : Same::kYes;
}

Same same_collection(const Expr& gold, const Expr& answer, const Deadline& deadline) {
  if (gold.kind == Kind::kInterval && answer.kind == Kind::kInterval) {
    if (gold.left_open != answer.left_open || gold.right_open != answer.right_open) return Same::kNo;
    return in_order(elements_of(gold), elements_of(answer), deadline);
  }
  if (is_sequence(gold) && is_sequence(answer)) {
    const bool ordered = gold.kind == Kind::kTuple || gold.kind == Kind::kInterval;
    return (ordered ? in_order : in_any_order)(elements_of(gold), elements_of(answer), deadline);
  }
  const Same same = same_set(gold, answer, deadline);
  if (same != Same::kUnknown || gold.kind != answer.kind) return same;
  Elements gold_parts, answer_parts;
  for (const Expr& part : gold.args) gold_parts.push_back(&part);
  for (const Expr& part : answer.args) answer_parts.push_back(&part);
  return (gold.kind == Kind::kDifference ? in_order : in_any_order)(gold_parts, answer_parts, deadline);
}

char flipped(char sign) {
  switch (sign) {
    case '<':
      return '>';
    case '>':
      return '<';
    case 'l':
      return 'g';
    case 'g':
      return 'l';
    default:
      return sign;
  }
}

/// Read from right to left: 1 < x becomes x > 1.
Expr reversed(const Expr& relation) {
  Expr out = relation;
  std::reverse(out.args.begin(), out.args.end());
  std::reverse(out.name.begin(), out.name.end());
  for (char& sign : out.name) sign = flipped(sign);
  return out;
}

/// An equation chain keeps its first and last sides.
Expr ends_of(const Expr& e) {
  if (!is_assignment(e) || e.args.size() == 2) return e;
  return make(Kind::kRelation, {e.args.front(), e.args.back()}, "=");
}

Same same_sides(const Expr& gold, const Expr& answer, const Deadline& deadline) {
  if (gold.name != answer.name) return Same::kNo;
  All same;
  for (size_t i = 0; i < gold.args.size(); ++i) {
    if (!same.add(same_meaning(gold.args[i], answer.args[i], deadline))) break;
  }
  return same.all;
}

Same same_relation(const Expr& gold_chain, const Expr& answer_chain, const Deadline& deadline) {
  const Expr gold = ends_of(gold_chain), answer = ends_of(answer_chain), other = reversed(answer);
  if (gold.args.size() != answer.args.size()) return Same::kNo;
  for (const Expr* candidate : {&answer, &other}) {
    if (same_sides(gold, *candidate, deadline) == Same::kYes) return Same::kYes;
  }
  const bool scalars = std::all_of(gold.args.begin(), gold.args.end(), is_scalar) &&
                       std::all_of(answer.args.begin(), answer.args.end(), is_scalar);
  if (!scalars) return Same::kNo;
  if (gold.args.size() > 2) {
    const Expr gold_set = as_set(gold), answer_set = as_set(answer);
    return is_set(gold_set) && is_set(answer_set) && gold.args[1] == answer.args[1]
               ? same_meaning(gold_set, answer_set, deadline)
               : Same::kNo;
  }
  // lhs - rhs of both, up to a factor; it must be positive where the sign has a direction
  const Expr& directed = answer.name == gold.name ? answer : other;
  if (directed.name != gold.name) return Same::kNo;
  const auto difference = [](const Expr& r) {
    return make(Kind::kAdd, {r.args[0], make(Kind::kNegate, {r.args[1]})});
  };
  const bool direction = gold.name != "=" && gold.name != "!";
  return proportional(difference(gold), difference(directed), direction, deadline);
}

}  // namespace

Same same_meaning(const Expr& gold_given, const Expr& answer_given, const Deadline& deadline) {
  deadline.poll();
  const Expr* gold = &gold_given;
  const Expr* answer = &answer_given;
  // The gold answer says whether "x =" belongs to it; an answer may say it in any case.
  if (is_equation(*answer) && !is_equation(*gold)) {
    answer = &answer->args.back();
  } else if (is_equation(*gold) && !is_equation(*answer) && (is_assignment(*gold) || !has_symbols(*gold))) {
    gold = &gold->args.back();
  }
  const bool gold_relation = gold->kind == Kind::kRelation, answer_relation = answer->kind == Kind::kRelation;
  if (gold_relation && is_set(*answer)) {
    const Expr set = as_set(*gold);
    return is_set(set) ? same_collection(set, *answer, deadline) : Same::kNo;
  }
  if (gold_relation && answer_relation) return same_relation(*gold, *answer, deadline);
  const bool lists = gold->kind == Kind::kList || answer->kind == Kind::kList;
  if ((gold_relation || answer_relation) && !lists) return Same::kNo;
  const bool matrices = gold->kind == Kind::kMatrix || answer->kind == Kind::kMatrix;
  if (matrices && !lists) {
    if (gold->kind != answer->kind || gold->args.size() != answer->args.size()) return Same::kNo;
    All same;
    for (size_t i = 0; i < gold->args.size(); ++i) {
      if (!same.add(in_order(elements_of(gold->args[i]), elements_of(answer->args[i]), deadline))) break;
    }
    return same.all;
  }
  if (is_scalar(*gold) && is_scalar(*answer)) return same_value(*gold, *answer, deadline);
  return same_collection(*gold, *answer, deadline);
}

}  // namespace r1::maths
