#include "r1/reward/format.h"

#include <array>

#include "rational.h"

namespace r1 {
namespace {

constexpr std::array<std::string_view, 4> kTags = {"<think>", "</think>", "<answer>", "</answer>"};

/// Cuts `text` behind its first `tag`; `before` becomes what stood before it.
bool cut(std::string_view& text, std::string_view tag, std::string_view& before) {
  const size_t at = text.find(tag);
  if (at == std::string_view::npos) return false;
  before = text.substr(0, at);
  text.remove_prefix(at + tag.size());
  return true;
}

bool has_text_without_tags(std::string_view text) {
  for (const auto tag : kTags) {
    if (text.find(tag) != std::string_view::npos) return false;
  }
  return !trimmed(text).empty();
}

}  // namespace

bool has_think_answer_format(std::string_view completion, bool think_opened) {
  std::string_view rest = completion, before, thought, between, answer;
  if (!think_opened && !cut(rest, kTags[0], before)) return false;
  if (!cut(rest, kTags[1], thought) || !cut(rest, kTags[2], between) || !cut(rest, kTags[3], answer))
    return false;
  return trimmed(before).empty() && trimmed(between).empty() && trimmed(rest).empty() &&
         has_text_without_tags(thought) && has_text_without_tags(answer);
}

}  // namespace r1
