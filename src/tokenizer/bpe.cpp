#include "bpe.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>

#include "utf8.h"

namespace r1 {
namespace {

constexpr size_t kShortWord = 40;  // up to here scanning all pairs beats a heap
constexpr uint32_t kNoSymbol = 0xFFFFFFFFu;

std::string byte_piece(unsigned char byte) {
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", byte);
  return name;
}

}  // namespace

BpeModel::BpeModel(BpeSpec spec) : spec_(std::move(spec)), merges_(spec_.merges, spec_.rank_by_result) {
  for (size_t id = 0; id < spec_.pieces.size(); ++id)
    if (spec_.in_model[id] && !spec_.pieces[id].empty())
      ids_.insert(spec_.pieces[id], static_cast<int32_t>(id));
  byte_ids_.fill(-1);
  for (int b = 0; b < 256; ++b) {
    if (spec_.byte_level)
      byte_ids_[b] = ids_.find(std::string(1, static_cast<char>(b)));
    else if (spec_.byte_fallback)
      byte_ids_[b] = ids_.find(byte_piece(static_cast<unsigned char>(b)));
  }
}

void BpeModel::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  using Cached = Scratch::Cached;
  if (word.size() > sizeof(Cached::word)) return encode_uncached(word, scratch, out);
  Cached& cached = scratch.cache_[XXH3_64bits(word.data(), word.size()) & (Scratch::kCacheSize - 1)];
  if (cached.length == word.size() && std::memcmp(cached.word, word.data(), word.size()) == 0) {
    out.insert(out.end(), cached.ids, cached.ids + cached.num_ids);
    return;
  }
  const size_t before = out.size();
  encode_uncached(word, scratch, out);
  const size_t num_ids = out.size() - before;
  if (word.empty() || num_ids > std::size(cached.ids)) return;
  cached.length = static_cast<uint8_t>(word.size());
  cached.num_ids = static_cast<uint8_t>(num_ids);
  std::memcpy(cached.word, word.data(), word.size());
  std::copy(out.begin() + static_cast<ptrdiff_t>(before), out.end(), cached.ids);
}

void BpeModel::encode_uncached(std::string_view word, Scratch& scratch, std::vector<int32_t>& out) const {
  if (spec_.ignore_merges) {
    const int32_t whole = ids_.find(word);
    if (whole >= 0) return out.push_back(whole);
  }
  first_symbols(word, scratch.ids_);
  if (scratch.ids_.size() > kShortWord)
    merge_long(scratch);
  else if (scratch.ids_.size() > 1)
    merge_short(scratch);
  out.insert(out.end(), scratch.ids_.begin(), scratch.ids_.end());
}

// Appends the first symbols of one character (byte-level: of one byte); false when it has none.
bool BpeModel::spell(std::string_view character, std::vector<int32_t>& ids) const {
  if (!spec_.byte_level) {
    if (const int32_t id = ids_.find(character); id >= 0) {
      ids.push_back(id);
      return true;
    }
  }
  const auto id_of = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (!std::all_of(character.begin(), character.end(), [&](char c) { return id_of(c) >= 0; })) return false;
  for (const char c : character) ids.push_back(id_of(c));
  return true;
}

void BpeModel::first_symbols(std::string_view word, std::vector<int32_t>& ids) const {
  ids.clear();
  bool last_unknown = false;
  for (size_t at = 0; at < word.size();) {
    const size_t length = spec_.byte_level ? 1 : std::max<size_t>(utf8::decode(word, at).length, 1);
    const bool spelled = spell(word.substr(at, length), ids);
    if (!spelled && spec_.unknown_id && !(last_unknown && spec_.fuse_unknown))
      ids.push_back(*spec_.unknown_id);
    last_unknown = !spelled;
    at += length;
  }
}

size_t BpeModel::find_unspellable(std::string_view word) const {
  if (spec_.unknown_id) return word.npos;
  std::vector<int32_t> ids;
  for (size_t at = 0; at < word.size();) {
    const size_t length = spec_.byte_level ? 1 : std::max<size_t>(utf8::decode(word, at).length, 1);
    if (!spell(word.substr(at, length), ids)) return at;
    at += length;
  }
  return word.npos;
}

bool BpeModel::covers_all_bytes() const {
  return std::all_of(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id >= 0; });
}

void BpeModel::merge_short(Scratch& scratch) const {
  int32_t* ids = scratch.ids_.data();
  size_t n = scratch.ids_.size();
  MergeTable::Entry pairs[kShortWord];  // pairs[i] is the rule for ids[i], ids[i+1]
  for (size_t i = 0; i + 1 < n; ++i) pairs[i] = merges_.find(ids[i], ids[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == MergeTable::kNone) break;
    ids[best] = pairs[best].result;
    std::copy(ids + best + 2, ids + n, ids + best + 1);
    if (best + 2 < n) std::copy(pairs + best + 2, pairs + n - 1, pairs + best + 1);
    --n;
    if (best > 0) pairs[best - 1] = merges_.find(ids[best - 1], ids[best]);
    if (best + 1 < n) pairs[best] = merges_.find(ids[best], ids[best + 1]);
  }
  scratch.ids_.resize(n);
}

// O(n log n): a linked list of symbols and a heap of candidate merges. A candidate counts only while its rank
// is still that of the pair at its position; merges make others stale.
void BpeModel::merge_long(Scratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  const auto last = static_cast<uint32_t>(scratch.ids_.size() - 1);
  symbols.resize(scratch.ids_.size());
  heap.clear();
  for (uint32_t i = 0; i <= last; ++i)
    symbols[i] = {scratch.ids_[i], i - 1, i < last ? i + 1 : kNoSymbol, {}};
  symbols[0].previous = kNoSymbol;
  const auto find_pair = [&](uint32_t at) {
    Scratch::Symbol& symbol = symbols[at];
    symbol.pair =
        symbol.next == kNoSymbol ? MergeTable::Entry{} : merges_.find(symbol.id, symbols[symbol.next].id);
    if (symbol.pair.rank == MergeTable::kNone) return false;
    heap.push_back(static_cast<uint64_t>(symbol.pair.rank) << 32 | at);
    return true;
  };
  for (uint32_t i = 0; i < last; ++i) find_pair(i);
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto rank = static_cast<uint32_t>(heap.back() >> 32), at = static_cast<uint32_t>(heap.back());
    heap.pop_back();
    Scratch::Symbol& left = symbols[at];
    if (left.pair.rank != rank) continue;
    Scratch::Symbol& right = symbols[left.next];
    left.id = left.pair.result;
    left.next = right.next;
    right.pair = {};
    if (left.next != kNoSymbol) symbols[left.next].previous = at;
    if (find_pair(at)) std::push_heap(heap.begin(), heap.end(), std::greater<>());
    if (left.previous != kNoSymbol && find_pair(left.previous))
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
  }
  size_t count = 0;
  for (uint32_t at = 0; at != kNoSymbol; at = symbols[at].next) scratch.ids_[count++] = symbols[at].id;
  scratch.ids_.resize(count);
}

}  // namespace r1
