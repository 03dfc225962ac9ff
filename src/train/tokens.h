#pragma once
#include <ATen/core/Tensor.h>

#include "r1/data/text_examples.h"
#include "r1/tokenizer/tokenizer.h"
#include "r1/train/batch.h"

namespace r1::train {

/// Ids of a prompt as a model sees it: BOS first where the vocabulary asks for it or, for a character vocabulary, has one.
std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, const std::string& text);

/// One training text: prompt, completion, EOS. With `train_on_prompt`, or without a prompt, everything after the first
/// token is trained on. Throws Error when it is longer than `max_tokens` or leaves nothing to predict from.
TokenTree text_tokens(const Tokenizer& tokenizer, const TextExample& example, bool train_on_prompt, int64_t max_tokens);

/// Rows of hidden_NC; the gradient of a row that is used several times is added in order.
at::Tensor gather_rows(const at::Tensor& hidden_NC, const at::Tensor& rows_M);

}  // namespace r1::train
