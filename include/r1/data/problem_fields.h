#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace r1 {

/// Where a row of a problem file has its question and its gold answer.
///
///   form       fields                                          gold answer
///   gsm8k      question, answer with a "####"                  what follows the last ####
///   answer     question | problem | prompt | ..., answer       the whole field (MATH-500, AIME)
///   solution   problem | question | ..., solution              the last \boxed{} of the solution (MATH)
///   humaneval  prompt, test, entry_point                       the tests: "<test>\n\ncheck(<entry_point>)"
///   mbpp       text | prompt, test_list                        the tests, each a Python text
///
/// Names are compared without case: AIME files have "Problem" and "Answer".
struct ProblemFields {
  std::string form;  ///< as above
  std::string prompt, answer;
  std::string answer_after;  ///< "####" or empty
  bool is_code() const { return form == "humaneval" || form == "mbpp"; }
};

/// Nothing when the row has none of the forms.
std::optional<ProblemFields> recognise_fields(const nlohmann::json& row);

/// Python texts that a solution must run through without an error: what the reward part `kind: code` expects
/// under "asserts" of Problem::extra. An empty array when the row lacks its tests.
nlohmann::json code_asserts(const nlohmann::json& row, const ProblemFields& fields);

/// What stands in the last \boxed{...} or \boxed <word>; empty when there is none.
std::string boxed_answer(std::string_view solution);

}  // namespace r1
