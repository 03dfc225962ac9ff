#include "r1/reward/answer.h"

#include <vector>

#include "r1/reward/maths.h"
#include "r1/reward/number.h"
#include "rational.h"

namespace r1 {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr std::string_view kAnswerOpen = "<answer>", kAnswerClose = "</answer>";
constexpr std::string_view kNone{};

std::string_view last_answer_tag(std::string_view text) {
  const size_t close = text.rfind(kAnswerClose);
  if (close == std::string_view::npos) return kNone;
  const size_t open = text.substr(0, close).rfind(kAnswerOpen);
  if (open == std::string_view::npos) return kNone;
  return text.substr(open + kAnswerOpen.size(), close - open - kAnswerOpen.size());
}

/// The balanced \boxed{} that starts last, in one pass with a stack of open braces.
std::string_view last_boxed(std::string_view text) {
  struct Open {
    size_t start;
    bool boxed;
  };
  std::vector<Open> open;
  std::string_view found;
  size_t found_start = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() &&
        (text[i + 1] == '{' || text[i + 1] == '}' || text[i + 1] == '\\')) {
      ++i;
    } else if (text[i] == '{') {
      const auto before = text.substr(0, i);
      open.push_back({i + 1, before.ends_with("\\boxed") || before.ends_with("\\fbox")});
    } else if (text[i] == '}' && !open.empty()) {
      if (open.back().boxed && open.back().start > found_start) {
        found_start = open.back().start;
        found = text.substr(found_start, i - found_start);
      }
      open.pop_back();
    }
  }
  return found;
}

std::string_view first_line_of(std::string_view text) { return text.substr(0, text.find('\n')); }

std::string_view after_hashes(std::string_view text) {
  const size_t mark = text.rfind("####");
  return mark == std::string_view::npos ? kNone : first_line_of(text.substr(mark + 4));
}

/// \\frac12, \\frac1{72}, \\frac{1}2 and \\sqrt3 with their braces: \\frac{1}{2}, ... In text without white
/// space.
std::string with_braces(std::string_view text) {
  std::string out;
  int arguments = 0;         // how many the last command still takes
  std::vector<int> outside;  // the same, around each open brace
  for (size_t i = 0; i < text.size();) {
    const bool fraction = text.substr(i).starts_with("\\frac");
    if (fraction || text.substr(i).starts_with("\\sqrt")) {
      out += text.substr(i, 5);
      i += 5;
      arguments = fraction ? 2 : 1;
      continue;
    }
    const char c = text[i++];
    if (arguments > 0 && is_digit(c)) {
      out += std::string("{") + c + "}";
      --arguments;
      continue;
    }
    out += c;
    if (c == '{') outside.push_back(arguments > 0 ? arguments - 1 : 0);
    arguments = 0;
    if (c == '}' && !outside.empty()) {
      arguments = outside.back();
      outside.pop_back();
    }
  }
  return out;
}

/// White space, trailing dots and LaTeX shorthand removed: what two texts are compared by.
std::string comparable_text(std::string_view text) {
  std::string plain;
  for (const char c : plain_maths(text)) {
    if (!is_space(c)) plain += c;
  }
  while (!plain.empty() && plain.back() == '.') plain.pop_back();
  return with_braces(plain);
}

struct Split {
  std::string thinking, visible;
};

Split split_thinking(std::string_view completion, bool think_opened) {
  Split split;
  bool thinking = think_opened;
  for (size_t i = 0; i < completion.size();) {
    const size_t mark = completion.find('<', i);
    auto& text = thinking ? split.thinking : split.visible;
    text.append(completion.substr(i, mark == std::string_view::npos ? mark : mark - i));
    if (mark == std::string_view::npos) break;
    const std::string_view rest = completion.substr(mark);
    if (rest.starts_with(kThinkClose)) {
      if (!thinking) {  // nothing opened it: all before was thinking
        split.thinking += split.visible;
        split.visible.clear();
      }
      thinking = false;
      split.visible += '\n';  // what stood on both sides does not join
      split.thinking += '\n';
      i = mark + kThinkClose.size();
    } else if (rest.starts_with(kThinkOpen)) {
      thinking = true;
      i = mark + kThinkOpen.size();
    } else {
      text += '<';
      i = mark + 1;
    }
  }
  return split;
}

}  // namespace

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kRight:
      return "right";
    case Verdict::kWrong:
      return "wrong";
    case Verdict::kGoldUnreadable:
      return "gold_unreadable";
    case Verdict::kAnswerUnreadable:
      return "answer_unreadable";
    case Verdict::kTimedOut:
      return "timed_out";
  }
  return "unknown";
}

std::string without_thinking(std::string_view completion, bool think_opened) {
  return split_thinking(completion, think_opened).visible;
}

std::string thinking_of(std::string_view completion, bool think_opened) {
  return split_thinking(completion, think_opened).thinking;
}

std::optional<std::string> extract_answer(std::string_view completion, const std::vector<Extract>& extractors,
                                          bool think_opened) {
  const std::string visible = without_thinking(completion, think_opened);
  for (const Extract extractor : extractors) {
    std::string number;
    std::string_view found;
    switch (extractor) {
      case Extract::kAnswerTag:
        found = last_answer_tag(visible);
        break;
      case Extract::kBoxed:
        found = last_boxed(visible);
        break;
      case Extract::kHashes:
        found = after_hashes(visible);
        break;
      case Extract::kLastNumber:
        number = last_number(visible).value_or("");
        found = number;
        break;
      case Extract::kFirstLine:
        found = first_line_of(completion);
        break;
    }
    found = trimmed(found);
    if (!found.empty()) return std::string(found);
  }
  return std::nullopt;
}

Verdict compare_answers(std::string_view answer, std::string_view gold, Compare compare) {
  if (compare == Compare::kMaths) return compare_maths(answer, gold);
  const std::string gold_text = comparable_text(gold);
  if (gold_text.empty()) return Verdict::kGoldUnreadable;
  if (compare != Compare::kText) {
    if (const auto gold_number = parse_written_number(plain_maths(gold))) {
      const auto number = parse_written_number(plain_maths(answer));
      if (!number) {
        const bool unreadable = compare == Compare::kNumber || comparable_text(answer).empty();
        return unreadable ? Verdict::kAnswerUnreadable : Verdict::kWrong;
      }
      const bool same_unit =
          number->unit.empty() || gold_number->unit.empty() || number->unit == gold_number->unit;
      return same_unit && number->value == gold_number->value ? Verdict::kRight : Verdict::kWrong;
    }
    if (compare == Compare::kNumber) return Verdict::kGoldUnreadable;
  }
  const std::string text = comparable_text(answer);
  if (text.empty()) return Verdict::kAnswerUnreadable;
  return text == gold_text ? Verdict::kRight : Verdict::kWrong;
}

}  // namespace r1
