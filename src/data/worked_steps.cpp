// Worked arithmetic, column by column.
#include <algorithm>

#include "r1/data/worked_arithmetic.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

/// Writes steps and lets the one that the slip names go wrong.
class StepWriter {
 public:
  explicit StepWriter(WorkedSlip slip) : slip_(slip) {}
  /// Appends "<text>=<result>" and returns the result that was written. modulo > 0 keeps it in [0, modulo).
  int64_t write(const std::string& text, int64_t result, int64_t modulo = 0) {
    if (static_cast<int64_t>(steps.size()) == slip_.index) {
      result += slip_.delta;
      if (modulo > 0) result = (result + modulo) % modulo;
      if (result < 0) result = 1;  // 0 - 1
    }
    steps.push_back(cat(text, "=", result));
    return result;
  }
  std::vector<std::string> steps;

 private:
  WorkedSlip slip_;
};

int64_t add(int64_t a, int64_t b, StepWriter& writer) {
  int64_t result = 0, place = 1, carry = 0;
  do {
    const std::string text = cat(a % 10, "+", b % 10, carry > 0 ? cat("+", carry) : "");
    const int64_t sum = writer.write(text, a % 10 + b % 10 + carry);
    result += sum % 10 * place;
    carry = sum / 10;
    place *= 10;
    a /= 10;
    b /= 10;
  } while (a > 0 || b > 0);
  return result + carry * place;
}

int64_t subtract(int64_t a, int64_t b, StepWriter& writer) {  // a >= b
  int64_t result = 0, place = 1, borrow = 0;
  do {
    const bool lends = a % 10 < b % 10 + borrow;
    const int64_t upper = a % 10 + (lends ? 10 : 0);
    const std::string text = cat(upper, "-", b % 10, borrow > 0 ? "-1" : "");
    result += writer.write(text, upper - b % 10 - borrow, 10) * place;
    borrow = lends ? 1 : 0;
    place *= 10;
    a /= 10;
    b /= 10;
  } while (a > 0 || b > 0);
  return result;
}

int64_t multiply(int64_t a, int64_t b, StepWriter& writer) {
  int64_t place = 1, result = 0;
  if (b < 10) {  // column by column
    int64_t carry = 0;
    do {
      const std::string text = cat(a % 10, "*", b, carry > 0 ? cat("+", carry) : "");
      const int64_t product = writer.write(text, a % 10 * b + carry);
      result += product % 10 * place;
      carry = product / 10;
      place *= 10;
      a /= 10;
    } while (a > 0);
    return result + carry * place;
  }
  bool first = true;
  for (int64_t rest = b; rest > 0; rest /= 10, place *= 10) {
    if (rest % 10 == 0) continue;
    const int64_t factor = rest % 10 * place;
    const int64_t product = writer.write(cat(a, "*", factor), a * factor);
    result = first ? product : writer.write(cat(result, "+", product), result + product);
    first = false;
  }
  return result;
}

}  // namespace

WorkedSolution work_out(const ArithmeticTask& task, WorkedSlip slip) {
  WorkedSolution solution;
  StepWriter writer(slip);
  if (task.op == '+') {
    solution.result = add(task.a, task.b, writer);
  } else if (task.op == '*') {
    solution.result = multiply(task.a, task.b, writer);
  } else if (task.a >= task.b) {
    solution.result = subtract(task.a, task.b, writer);
  } else {
    solution.result = -subtract(task.b, task.a, writer);
    writer.steps.insert(writer.steps.begin(), cat("-(", task.b, "-", task.a, ")"));
  }
  solution.steps = std::move(writer.steps);
  return solution;
}

}  // namespace r1
