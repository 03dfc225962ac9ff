#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace r1 {

/// Finds any of a set of byte strings in one pass, without case for ASCII.
/// Source: Aho and Corasick, "Efficient String Matching" (1975), as a table of states.
class NeedleFinder {
 public:
  explicit NeedleFinder(const std::vector<std::string_view>& needles);
  /// The end of the first needle that ends after `from`; npos when there is none. Needles that begin before
  /// `from` are not seen.
  size_t find(std::string_view text, size_t from) const {
    uint32_t state = 0;
    for (size_t i = from; i < text.size(); ++i) {
      state = next_[state * num_classes_ + class_of_[static_cast<uint8_t>(text[i])]];
      if (state >= first_end_) return i + 1;
    }
    return std::string_view::npos;
  }

 private:
  std::array<uint8_t, 256> class_of_{};  ///< bytes that no needle has are class 0
  size_t num_classes_ = 1;
  std::vector<uint16_t> next_;  ///< [state][class]
  uint32_t first_end_ = 0;      ///< states from here on have seen a whole needle
};

}  // namespace r1
