#include "r1/tokenizer/tokenizer.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1 {
namespace {

constexpr const char* kBegin = "<|im_start|>";
constexpr const char* kEnd = "<|im_end|>";

// The system message that the template itself spells out for conversations without one:
//   {{ '<|im_start|>system\nYou are ...<|im_end|>\n' }}
// Template sources have a real line break or the two characters "\n" there. "" when there is none.
std::string default_system(const std::string& source) {
  const std::string head = std::string(kBegin) + "system";
  for (size_t at = source.find(head); at != source.npos; at = source.find(head, at + 1)) {
    size_t begin = at + head.size();
    if (source.compare(begin, 1, "\n") == 0)
      begin += 1;
    else if (source.compare(begin, 2, "\\n") == 0)
      begin += 2;
    else
      continue;
    const size_t end = source.find(kEnd, begin);
    if (end == source.npos) continue;
    const std::string message = source.substr(begin, end - begin);
    if (!message.empty() && message.find_first_of("'\"{}") == message.npos)
      return message;  // a literal, no expression
  }
  return "";
}

}  // namespace

std::string apply_chat_template(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt) {
  const std::string& source = tokenizer.chat_template();
  if (source.find(kBegin) == source.npos)
    throw Error(cat("the tokenizer ",
                    source.empty() ? "has no chat template" : "has a chat template of another family",
                    "; accepted: ChatML (", kBegin, "role ... ", kEnd, ") as in SmolLM2 and Qwen2. ",
                    "Write the prompt as plain text instead."));
  std::string out;
  const auto add = [&](const std::string& role, const std::string& content) {
    out += cat(kBegin, role, '\n', content, kEnd, '\n');
  };
  const std::string system = default_system(source);
  if (!messages.empty() && messages.front().role != "system" && !system.empty()) add("system", system);
  for (const ChatMessage& m : messages) add(m.role, m.content);
  if (add_generation_prompt) out += cat(kBegin, "assistant\n");
  return out;
}

}  // namespace r1
