#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "r1/reward/answer.h"

namespace r1 {

/// Checks a countdown answer: an expression over + - * / and brackets that uses the given numbers and gives
/// `target`.
///
///   answer   "(25 - 5) * 4", also with U+00D7, U+00F7, U+2212; "... = 80" at its end must state the target
///   use_all  true: each number exactly once; false: each at most once
///
/// kAnswerUnreadable when it is no expression (also deeper than 64 brackets or longer than 1,000 bytes),
/// kWrong for other numbers, another value or a division by zero. Exact rational arithmetic. Never throws.
Verdict check_countdown(std::string_view answer, const std::vector<int64_t>& numbers, int64_t target,
                        bool use_all = true);

}  // namespace r1
