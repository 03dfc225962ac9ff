#pragma once
#include <string_view>

#include "r1/reward/answer.h"

namespace r1 {

/// Whether `answer` means the same as `gold`: numbers, LaTeX expressions with symbols, equations,
/// inequalities, intervals and their unions, sets, lists, tuples, matrices, choices, words. docs/maths.md
/// lists what is read and how it is compared.
///
///   deadline_s  after it the verdict is kTimedOut; so it is when the value is too large or too close to tell
///
/// Rationals are compared exactly, other values by ball arithmetic (Arb) at pseudo-random points that depend
/// on the symbols' names alone, so a verdict is a function of its arguments. kGoldUnreadable depends on the
/// gold alone. Texts longer than 10,000 bytes, deeper than 100 brackets or above 4,000 tokens are unreadable.
/// Any bytes, never throws. Thread-safe.
Verdict compare_maths(std::string_view answer, std::string_view gold, double deadline_s = 0.05);

}  // namespace r1
