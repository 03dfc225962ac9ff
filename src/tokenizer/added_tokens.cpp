#include "added_tokens.h"

#include <algorithm>
#include <functional>

#include "utf8.h"

namespace r1 {
namespace {

unsigned char byte_at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

// The character that ends at `end` (exclusive), and where it begins.
utf8::Character before(std::string_view text, size_t end, size_t& begin) {
  for (size_t length = 1; length <= std::min<size_t>(4, end); ++length) {
    const auto c = utf8::decode(text, end - length);
    if (c.length == length) {
      begin = end - length;
      return c;
    }
  }
  return {};
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<const AddedToken*>& tokens) : tokens_(tokens) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i]->content;
    if (content.empty() || !by_content_.insert(content, static_cast<int32_t>(i))) continue;
    lengths_.push_back(content.size());
    first_bytes_.set(byte_at(content, 0));
    for (int second = 0; second < 256; ++second)
      if (content.size() == 1 || byte_at(content, 1) == second)
        starts_.set(byte_at(content, 0) << 8 | second);
  }
  std::sort(lengths_.begin(), lengths_.end(), std::greater<>());
  lengths_.erase(std::unique(lengths_.begin(), lengths_.end()), lengths_.end());
}

bool AddedTokenFinder::find(std::string_view text, size_t from, size_t done, bool with_special,
                            Hit& hit) const {
  if (empty()) return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (!first_bytes_.test(byte_at(text, at))) continue;
    if (at + 1 < text.size() && !starts_.test(byte_at(text, at) << 8 | byte_at(text, at + 1))) continue;
    for (const size_t length : lengths_) {
      if (length > text.size() - at) continue;
      const int32_t index = by_content_.find(text.substr(at, length));
      if (index < 0) continue;
      const AddedToken& token = *tokens_[static_cast<size_t>(index)];
      if (token.special && !with_special) continue;
      hit = {&token, at, at + length, at + length};
      if (token.single_word) {
        size_t begin = 0;
        const auto left = before(text, hit.begin, begin);
        const auto right = utf8::decode(text, hit.end);
        if ((left.length && utf8::is_word(left.code)) || (right.length && utf8::is_word(right.code))) {
          at = hit.end - 1;  // passed over whole
          break;
        }
      }
      if (token.lstrip) {
        for (size_t begin = 0; hit.begin > done; hit.begin = begin) {
          const auto c = before(text, hit.begin, begin);
          if (c.length == 0 || !utf8::is_space(c.code) || begin < done) break;
        }
      }
      if (token.rstrip) {
        for (auto c = utf8::decode(text, hit.end); c.length && utf8::is_space(c.code);
             c = utf8::decode(text, hit.end))
          hit.end += c.length;
      }
      return true;
    }
  }
  return false;
}

}  // namespace r1
