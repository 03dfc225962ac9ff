#pragma once
#include <string_view>

namespace r1 {

/// True when `completion` is exactly
///   <think> reasoning </think> <answer> answer </answer>
/// white space allowed between and around the two blocks, both of them not blank, each of the four tags
/// exactly once, nothing else outside them. think_opened: the prompt already ended in <think>, so the
/// completion must not repeat it. The R1-Zero format reward (arXiv:2501.12948v2, section 2.2.2). Any bytes,
/// never throws.
bool has_think_answer_format(std::string_view completion, bool think_opened = false);

}  // namespace r1
