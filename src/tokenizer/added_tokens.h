#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "byte_string_map.h"

namespace r1 {

/// A token that is cut out of the text before anything else looks at it (`added_tokens` of a tokenizer.json).
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = true;  ///< a control token: decode may skip it, encode may be told to read it as plain text
  bool single_word = false;             ///< matches only where no word character touches it
  bool lstrip = false, rstrip = false;  ///< swallows the white space before, after
  bool normalized = false;              ///< looked for in the normalised text
};

/// Finds added tokens: leftmost first, of those the longest.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  /// `tokens` must outlive the finder.
  explicit AddedTokenFinder(const std::vector<const AddedToken*>& tokens);

  struct Hit {
    const AddedToken* token = nullptr;
    size_t begin = 0, end = 0;  ///< with the white space that lstrip and rstrip swallow
    size_t resume = 0;          ///< where to look next: behind the token's own text
  };
  bool empty() const { return lengths_.empty(); }
  /// The first hit whose text begins at or after `from`; `done` is the end of the hit before. False when
  /// there is none.
  bool find(std::string_view text, size_t from, size_t done, bool with_special, Hit& hit) const;

 private:
  std::vector<const AddedToken*> tokens_;
  ByteStringMap by_content_;      // content -> index into tokens_
  std::vector<size_t> lengths_;   // distinct lengths, longest first
  std::bitset<65536> starts_;     // the first two bytes of some token
  std::bitset<256> first_bytes_;  // the first byte of some token
};

}  // namespace r1
