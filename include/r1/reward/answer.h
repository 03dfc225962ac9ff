#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// What a verifier can say. kGoldUnreadable is a fault of the problem, never of the completion: it counts as
/// neither right nor wrong. kTimedOut: no verdict within the limits, of the verifier (maths) or of a test
/// (code).
enum class Verdict { kRight, kWrong, kGoldUnreadable, kAnswerUnreadable, kTimedOut };
/// "right", "wrong", "gold_unreadable", "answer_unreadable", "timed_out"
const char* verdict_name(Verdict verdict);

/// Where a completion's final answer stands. All but kFirstLine look outside the thinking.
enum class Extract {
  kAnswerTag,   ///< the last complete <answer>...</answer>
  kBoxed,       ///< the last \boxed{...} or \fbox{...} with balanced braces
  kHashes,      ///< what follows the last #### in its line (GSM8K)
  kLastNumber,  ///< the last number of the text
  kFirstLine,   ///< everything up to the first newline: few-shot prompts that end in "12 + 7 ="
};

/// How an answer is compared with the gold one.
enum class Compare {
  kAuto,    ///< as numbers when the gold answer is one, otherwise as text
  kNumber,  ///< as numbers; a gold answer that is none is unreadable
  kText,    ///< as text after removing white space and LaTeX spacing
  kMaths,   ///< by what they mean: compare_maths of maths.h, with its deadline
};

/// `completion` without its thinking: <think>...</think> blocks, an unclosed <think> to the end, and
/// everything before a </think> that nothing opened. think_opened: the prompt ended inside <think>.
std::string without_thinking(std::string_view completion, bool think_opened);
/// The rest: what stands inside of <think>, blocks separated by a newline; empty when there is none.
std::string thinking_of(std::string_view completion, bool think_opened);

/// The first of `extractors` that finds an answer gives it, trimmed and not empty; nothing when none does.
/// Linear time, any bytes, never throws.
std::optional<std::string> extract_answer(std::string_view completion, const std::vector<Extract>& extractors,
                                          bool think_opened = false);

/// kRight, kWrong, or which of the two cannot be read: an empty text, or in kNumber one that is no number.
/// Numbers are equal when their exact values are, and their units where both have one. No floating point.
Verdict compare_answers(std::string_view answer, std::string_view gold, Compare compare = Compare::kAuto);

}  // namespace r1
