#include "tokens.h"

#include "r1/ops/ops.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {

std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<int32_t> ids;
  if ((tokenizer.add_bos() || tokenizer.kind() == "characters") && tokenizer.bos_id()) ids.push_back(*tokenizer.bos_id());
  const auto body = tokenizer.encode(text);
  ids.insert(ids.end(), body.begin(), body.end());
  return ids;
}

TokenTree text_tokens(const Tokenizer& tokenizer, const TextExample& example, bool train_on_prompt, int64_t max_tokens) {
  TokenTree tree;
  tree.prompt = prompt_tokens(tokenizer, example.prompt);
  auto completion = tokenizer.encode(example.completion);
  if (tokenizer.eos_id()) completion.push_back(*tokenizer.eos_id());
  if (train_on_prompt || tree.prompt.empty()) {
    auto all = tree.prompt;
    all.insert(all.end(), completion.begin(), completion.end());
    if (all.size() < 2) throw Error("a training text has fewer than two tokens; there is nothing to predict");
    tree.prompt.assign(1, all.front());
    completion.assign(all.begin() + 1, all.end());
  }
  const auto length = static_cast<int64_t>(tree.prompt.size() + completion.size());
  if (length > max_tokens) {
    throw Error(cat("a training text has ", length, " tokens; accepted: at most ", max_tokens,
                    ", the model's context or max_text_tokens. Shorten it, or leave it out: \"", example.prompt.substr(0, 60), "...\""));
  }
  tree.continuations.push_back(std::move(completion));
  return tree;
}

at::Tensor gather_rows(const at::Tensor& hidden_NC, const at::Tensor& rows_M) { return ops::embedding(rows_M, hidden_NC); }

}  // namespace r1::train
