#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

/// A place where the writer of a text says to be a model of somebody else.
struct IdentityClaim {
  std::string rule;   ///< "name", "name_in_context", "maker", "owned", "as", "creator", "based_on",
                      ///< "assigned", "zh_..."
  std::string who;    ///< the name or the company: "ChatGPT", "OpenAI"
  std::string text;   ///< the words that matched
  size_t offset = 0;  ///< their first byte
};

/// Finds texts in which a model claims to be another one, English and Chinese: "I am ChatGPT", "as an AI made
/// by OpenAI, I ...", "my creators at Anthropic", "You are GPT-4, a model trained by ..." as a system prompt;
/// 我是由OpenAI开发的...
///
/// A mention is no claim: "OpenAI released GPT-4", "I use ChatGPT", "I work at Google", "am I ChatGPT?", "I
/// am not Claude", quoted speech ('it said: "I am ChatGPT"'). Nor is "as an AI language model" without a
/// name, which every model can say. Names that people or animals have (Claude, Gemini, Alpaca) count only
/// beside words about AI or its maker. docs/data.md has the rules and how often they are right.
class IdentityFilter {
 public:
  /// `own_names`: names and companies that the model to be trained may claim ("DeepSeek-R1", "深度求索"),
  /// compared by letters and digits without case; "Qwen" covers "Qwen2.5".
  explicit IdentityFilter(std::vector<std::string> own_names = {});
  ~IdentityFilter();
  IdentityFilter(IdentityFilter&&) noexcept;
  IdentityFilter& operator=(IdentityFilter&&) noexcept;

  /// The first claim by the order of the rules at the first place that has any. Linear time, any bytes, from
  /// any thread.
  std::optional<IdentityClaim> find(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
