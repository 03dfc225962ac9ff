#include "r1/reward/maths.h"

#include <algorithm>
#include <optional>

#include "maths_expr.h"
#include "rational.h"

namespace r1 {
namespace {

struct Reading {
  std::string text;  ///< lower case, white space between digits only: texts that share it mean the same
  std::optional<maths::Expr> expr;  ///< nothing for words
};

/// Words, dates, times: no mathematics, but still to be compared as text.
bool is_plain(std::string_view text) {
  const auto is_wordy = [](char c) { return is_letter(c) || static_cast<unsigned char>(c) >= 0x80; };
  return text.find_first_of("\\{}^_") == std::string_view::npos &&
         std::any_of(text.begin(), text.end(), is_wordy);
}

/// Nothing for what cannot be read.
std::optional<Reading> read(std::string_view written, const maths::Deadline& deadline) {
  constexpr size_t kMaxBytes = 10'000;
  if (written.size() > kMaxBytes) return std::nullopt;
  const std::string text = maths::maths_text(written);
  Reading reading;
  bool space = false;
  for (const char c : text) {
    if (space && is_digit(c) && !reading.text.empty() && is_digit(reading.text.back())) reading.text += ' ';
    space = is_space(c);
    if (!space) reading.text += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  if (reading.text.empty()) return std::nullopt;
  try {
    reading.expr = maths::read_maths(text, deadline);
  } catch (const maths::Unreadable&) {
    if (!is_plain(text)) return std::nullopt;
  }
  return reading;
}

}  // namespace

Verdict compare_maths(std::string_view answer_text, std::string_view gold_text, double deadline_s) {
  const maths::Deadline deadline(deadline_s);
  try {
    const auto gold = read(gold_text, deadline);
    if (!gold) return Verdict::kGoldUnreadable;
    const auto answer = read(answer_text, deadline);
    if (!answer) return Verdict::kAnswerUnreadable;
    if (gold->text == answer->text) return Verdict::kRight;
    if (!gold->expr || !answer->expr) return Verdict::kWrong;
    switch (maths::same_meaning(*gold->expr, *answer->expr, deadline)) {
      case maths::Same::kYes:
        return Verdict::kRight;
      case maths::Same::kNo:
        return Verdict::kWrong;
      case maths::Same::kUnknown:
        break;
    }
  } catch (const maths::Expired&) {
  }
  return Verdict::kTimedOut;
}

}  // namespace r1
