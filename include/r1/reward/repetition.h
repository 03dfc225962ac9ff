#pragma once
#include <cstdint>
#include <string_view>

namespace r1 {

/// How much of a text repeats itself: 1 - distinct n-grams / n-grams, in [0, 1); 0 for fewer than two
/// n-grams.
///
/// n-grams of words: a Chinese or Japanese character each, else what stands between white space, ASCII
/// letters in lower case. Linear expected time, any bytes, never throws; ngram is 1 or more.
///
/// The measure of the repetition penalty of "Demystifying Long Chain-of-Thought Reasoning in LLMs"
/// (arXiv:2502.03373, appendix), which gives it to the tokens that repeat; as one number per completion it is
/// also open-r1's repetition_penalty reward.
double repetition_share(std::string_view text, int64_t ngram);

}  // namespace r1
