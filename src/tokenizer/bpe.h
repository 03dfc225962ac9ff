#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "byte_string_map.h"
#include "merges.h"

namespace r1 {

/// What decides how a word becomes ids.
struct BpeSpec {
  std::vector<std::string>
      pieces;  ///< by id: raw bytes (byte-level) or text with U+2581 for a space; "" is a hole
  std::vector<uint8_t> in_model;      ///< by id: 1 when BPE may produce it; control and unused tokens are 0
  std::vector<Merge> merges;          ///< by priority
  bool rank_by_result = false;        ///< see MergeTable
  bool byte_level = true;             ///< the first symbols are bytes, otherwise characters
  bool byte_fallback = false;         ///< a character without a piece becomes "<0xE2>" pieces
  bool ignore_merges = false;         ///< a word that is a piece stays whole
  bool fuse_unknown = false;          ///< unknown neighbours become one unknown_id
  std::optional<int32_t> unknown_id;  ///< for what has no piece; without it that is left out
};

/// Byte-pair encoding of single words (Sennrich et al., arXiv:1508.07909): start from the symbols of the
/// word, then merge the neighbours with the smallest rank, leftmost first, until no rule applies.
class BpeModel {
 public:
  BpeModel() = default;
  explicit BpeModel(BpeSpec spec);
  BpeModel(BpeModel&&) = default;
  BpeModel& operator=(BpeModel&&) = default;

  const BpeSpec& spec() const { return spec_; }

  /// Working memory: the ids of words met lately, and arrays. One per thread.
  class Scratch {
   public:
    Scratch() : cache_(kCacheSize) {}

   private:
    friend class BpeModel;
    static constexpr size_t kCacheSize = 1 << 15;  // 2 MiB
    struct Cached {  // one cache line; a newer word with the same hash replaces it
      uint8_t length = 0, num_ids = 0;
      char word[30];
      int32_t ids[8];
    };
    struct Symbol {
      int32_t id;
      uint32_t previous, next;
      MergeTable::Entry
          pair;  // the rule for this symbol and the next; none for a symbol that was merged away
    };
    std::vector<Cached> cache_;
    std::vector<int32_t> ids_;
    std::vector<Symbol> symbols_;
    std::vector<uint64_t> heap_;  // rank << 32 | position: the smallest goes first
  };

  /// Appends the ids of `word`.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;

  /// Offset of the first character of `word` that has neither tokens nor an unknown token; npos when there is
  /// none.
  size_t find_unspellable(std::string_view word) const;
  bool covers_all_bytes() const;

 private:
  bool spell(std::string_view character, std::vector<int32_t>& ids) const;
  void encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const;
  void first_symbols(std::string_view word, std::vector<int32_t>& ids) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  BpeSpec spec_;
  ByteStringMap ids_;
  std::array<int32_t, 256> byte_ids_{};
  MergeTable merges_;
};

}  // namespace r1
