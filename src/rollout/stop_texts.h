#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace r1::rollout {

/// Watches the bytes of one growing completion for any of the stop texts.
class StopTexts {
 public:
  explicit StopTexts(const std::vector<std::string>& texts) : texts_(&texts) {
    for (const auto& text : texts) longest_ = std::max(longest_, text.size());
  }
  bool any() const { return longest_ > 0; }

  /// Adds a token's bytes; true when a stop text is now complete.
  bool append(std::string_view bytes) {
    tail_ += bytes;
    const bool found = std::any_of(texts_->begin(), texts_->end(),
                                   [&](const std::string& text) { return tail_.find(text) != std::string::npos; });
    if (tail_.size() >= longest_) tail_.erase(0, tail_.size() - longest_ + 1);
    return found;
  }

 private:
  const std::vector<std::string>* texts_;
  std::string tail_;
  size_t longest_ = 0;
};

}  // namespace r1::rollout
