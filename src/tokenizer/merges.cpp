#include "merges.h"

#include <algorithm>
#include <string_view>
#include <tuple>

namespace r1 {

MergeTable::MergeTable(const std::vector<Merge>& merges, bool rank_by_result) {
  int bits = 1;
  while ((size_t{1} << bits) < 2 * merges.size() + 2) ++bits;
  slots_.assign(size_t{1} << bits, Slot{});
  mask_ = slots_.size() - 1;
  shift_ = 64 - bits;
  std::vector<uint32_t> first_rank;
  for (size_t i = 0; i < merges.size(); ++i) {
    const Merge& m = merges[i];
    uint32_t rank = static_cast<uint32_t>(i);
    if (rank_by_result) {
      if (first_rank.size() <= static_cast<size_t>(m.result)) first_rank.resize(m.result + 1, kNone);
      rank = first_rank[m.result] = std::min(first_rank[m.result], rank);
    }
    const uint64_t key = make_key(m.left, m.right);
    size_t at = slot_of(key);
    while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask_;
    slots_[at] = {key, {rank, m.result}};
  }
}

std::vector<Merge> merges_of_pieces(const std::vector<std::string>& pieces, const ByteStringMap& ids,
                                    const std::vector<int64_t>& order) {
  std::vector<Merge> merges;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const std::string_view piece = pieces[id];
    if (ids.find(piece) != static_cast<int32_t>(id)) continue;
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      const int32_t left = ids.find(piece.substr(0, cut));
      if (left < 0) continue;
      const int32_t right = ids.find(piece.substr(cut));
      if (right >= 0) merges.push_back({left, right, static_cast<int32_t>(id)});
    }
  }
  std::sort(merges.begin(), merges.end(), [&](const Merge& a, const Merge& b) {
    return std::tuple(order[a.result], a.result, order[a.left], order[a.right]) <
           std::tuple(order[b.result], b.result, order[b.left], order[b.right]);
  });
  return merges;
}

}  // namespace r1
