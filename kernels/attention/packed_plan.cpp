#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/packed_tiles.h"

namespace r1::kernels::cuda {
namespace {

// A GPU has about 132 multiprocessors; several items each leave the last ones short. A constant, so that the
// order of the sums does not depend on the card.
constexpr int64_t kItemsWanted = 1024;
constexpr int64_t kLeastSteps = 64;  // 2,048 queries: the partial sums cost a few percent of that work

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

int32_t narrow(int64_t x) {
  if (x < 0 || x > std::numeric_limits<int32_t>::max()) {
    throw std::runtime_error("packed attention: a plan's number is " + std::to_string(x) +
                             "; accepted: below 2^31. Pack fewer rows at a time");
  }
  return static_cast<int32_t>(x);
}

void check(const std::vector<PackedSegment>& segments, int64_t num_rows) {
  int64_t end = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto& s = segments[i];
    const bool rows = s.num_rows >= 0 && s.first_row >= end && s.first_row + s.num_rows <= num_rows;
    const bool prefix = s.first_position >= 0 && (s.first_position == 0 || (s.prefix_row >= 0 && s.prefix_row + s.first_position <= s.first_row));
    if (!rows || !prefix) {
      throw std::runtime_error("packed attention: segment " + std::to_string(i) + " has rows " +
                               std::to_string(s.first_row) + " + " + std::to_string(s.num_rows) + " and prefix " +
                               std::to_string(s.prefix_row) + " + " + std::to_string(s.first_position) +
                               "; accepted: segments in order within " + std::to_string(num_rows) +
                               " rows, their prefixes before them");
    }
    end = s.first_row + s.num_rows;
  }
}

template <class T>
int64_t append(std::vector<int32_t>& words, const std::vector<T>& parts) {
  const auto offset = static_cast<int64_t>(words.size());
  const auto* from = reinterpret_cast<const int32_t*>(parts.data());
  words.insert(words.end(), from, from + parts.size() * (sizeof(T) / sizeof(int32_t)));
  return offset;
}

std::vector<PackedQueryTile> make_query_tiles(const std::vector<PackedSegment>& segments) {
  std::vector<PackedQueryTile> tiles;
  for (const auto& s : segments) {
    for (int64_t first = 0; first < s.num_rows; first += kTileRows) {
      tiles.push_back({narrow(s.first_row + first), narrow(std::min(kTileRows, s.num_rows - first)), narrow(s.first_row),
                       narrow(s.first_position), narrow(s.first_position > 0 ? s.prefix_row : 0)});
      narrow(s.first_position + s.num_rows + kTileRows);
    }
  }
  const auto keys = [](const PackedQueryTile& t) { return t.prefix_length + t.first_row - t.segment_row + t.num_rows; };
  std::sort(tiles.begin(), tiles.end(), [&](const auto& a, const auto& b) {
    return keys(a) != keys(b) ? keys(a) > keys(b) : a.first_row < b.first_row;
  });
  return tiles;
}

struct KeyTiles {
  std::vector<PackedKeyTile> tiles;
  std::vector<PackedViewer> viewers;
};

KeyTiles make_key_tiles(const std::vector<PackedSegment>& segments) {
  KeyTiles keys;
  std::vector<std::vector<PackedViewer>> seen_by;
  for (const auto& s : segments) {
    for (int64_t first = 0; first < s.num_rows; first += kTileRows) {
      const int64_t begin = s.first_row + first, end = std::min(begin + kTileRows, s.first_row + s.num_rows);
      keys.tiles.push_back({narrow(begin), narrow(end - begin), 0, 0, 0});
      seen_by.push_back({{narrow(begin), narrow(s.first_row + s.num_rows), narrow(begin), narrow(end)}});
    }
  }
  for (const auto& s : segments) {
    if (s.first_position == 0 || s.num_rows == 0) continue;
    const int64_t end = s.prefix_row + s.first_position;
    auto tile = std::partition_point(keys.tiles.begin(), keys.tiles.end(),
                                     [&](const auto& t) { return int64_t{t.first_row} + t.num_rows <= s.prefix_row; });
    for (; tile != keys.tiles.end() && tile->first_row < end; ++tile) {
      seen_by[static_cast<size_t>(tile - keys.tiles.begin())].push_back(
          {narrow(s.first_row), narrow(s.first_row + s.num_rows), narrow(std::max<int64_t>(tile->first_row, s.prefix_row)),
           narrow(std::min<int64_t>(int64_t{tile->first_row} + tile->num_rows, end))});
    }
  }
  for (size_t t = 0; t < keys.tiles.size(); ++t) {
    keys.tiles[t].first_viewer = narrow(static_cast<int64_t>(keys.viewers.size()));
    keys.tiles[t].num_viewers = narrow(static_cast<int64_t>(seen_by[t].size()));
    for (const auto& v : seen_by[t]) keys.tiles[t].num_steps += narrow(ceil_div(v.query_end - v.query_begin, kStepRows));
    keys.viewers.insert(keys.viewers.end(), seen_by[t].begin(), seen_by[t].end());
  }
  return keys;
}

}  // namespace

PackedPlan make_packed_plan(const std::vector<PackedSegment>& segments, int64_t num_rows, int64_t num_heads,
                            int64_t num_kv_heads) {
  if (num_kv_heads < 1 || num_heads < num_kv_heads || num_heads % num_kv_heads != 0) {
    throw std::runtime_error("packed attention: " + std::to_string(num_heads) + " heads over " +
                             std::to_string(num_kv_heads) + " key heads; accepted: a multiple");
  }
  check(segments, num_rows);
  PackedPlan plan;
  plan.num_rows = num_rows;
  plan.num_heads = num_heads;
  plan.num_kv_heads = num_kv_heads;
  const auto query_tiles = make_query_tiles(segments);
  const auto keys = make_key_tiles(segments);

  const int64_t group = num_heads / num_kv_heads;
  int64_t total = 0;
  for (const auto& tile : keys.tiles) total += int64_t{tile.num_steps} * num_heads;
  const int64_t most = std::max(kLeastSteps, ceil_div(total, kItemsWanted));
  std::vector<PackedKeyItem> items;
  std::vector<PackedSplit> splits;
  for (size_t t = 0; t < keys.tiles.size(); ++t) {
    const int64_t steps = keys.tiles[t].num_steps * group, parts = ceil_div(steps, most);
    const auto tile = narrow(static_cast<int64_t>(t));
    narrow(steps);
    if (parts > 1) splits.push_back({tile, narrow(plan.num_slots), narrow(parts)});
    for (int64_t part = 0; part < parts; ++part) {
      items.push_back({tile, narrow(steps * part / parts), narrow(steps * (part + 1) / parts),
                       parts > 1 ? narrow(plan.num_slots + part) : -1});
    }
    if (parts > 1) plan.num_slots += parts;
  }
  std::sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
    const int32_t of_a = a.step_end - a.step_begin, of_b = b.step_end - b.step_begin;
    if (of_a != of_b) return of_a > of_b;
    return a.key_tile != b.key_tile ? a.key_tile < b.key_tile : a.step_begin < b.step_begin;
  });

  plan.num_query_tiles = static_cast<int64_t>(query_tiles.size());
  plan.num_key_items = static_cast<int64_t>(items.size());
  plan.num_splits = static_cast<int64_t>(splits.size());
  plan.query_tiles = append(plan.words, query_tiles);
  plan.key_tiles = append(plan.words, keys.tiles);
  plan.viewers = append(plan.words, keys.viewers);
  plan.key_items = append(plan.words, items);
  plan.splits = append(plan.words, splits);
  return plan;
}

bool packed_attention_supports(const PackedAttentionShape& s) {
  const bool widths = (s.key_dim == 64 && s.value_dim == 64) || (s.key_dim == 128 && s.value_dim == 128) ||
                      (s.key_dim == 192 && s.value_dim == 128);
  return widths && s.num_kv_heads > 0 && s.num_heads > 0 && s.num_heads % s.num_kv_heads == 0 && s.scale > 0;
}

int64_t packed_attention_partial_floats(const PackedAttentionShape& shape, const PackedPlan& plan) {
  return plan.num_slots * shape.num_kv_heads * kTileRows * (shape.key_dim + shape.value_dim);
}

}  // namespace r1::kernels::cuda
