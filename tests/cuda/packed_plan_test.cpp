#include <map>

#include "cuda/packed_problem.h"
#include "kernels/attention/packed_tiles.h"

namespace r1::test {
namespace {

using cuda::PackedSegment;

template <class T>
std::vector<T> part_of(const cuda::PackedPlan& plan, int64_t offset, int64_t count) {
  std::vector<T> parts(static_cast<size_t>(count));
  if (count > 0) std::memcpy(parts.data(), plan.words.data() + offset, sizeof(T) * parts.size());
  return parts;
}

using Pairs = std::map<std::pair<int64_t, int64_t>, int>;  // (query row, key row): how often

Pairs definition(const std::vector<PackedSegment>& segments) {
  Pairs pairs;
  for (const auto& s : segments) {
    for (int64_t i = 0; i < s.num_rows; ++i) {
      for (int64_t j = 0; j < s.first_position; ++j) ++pairs[{s.first_row + i, s.prefix_row + j}];
      for (int64_t j = 0; j <= i; ++j) ++pairs[{s.first_row + i, s.first_row + j}];
    }
  }
  return pairs;
}

// As the kernels go through the plan: queries with all keys before them, then key tiles with all steps of one head.
void expect_complete(const std::vector<PackedSegment>& segments, int64_t num_rows, int64_t H, int64_t Hkv) {
  const auto plan = cuda::make_packed_plan(segments, num_rows, H, Hkv);
  const auto expected = definition(segments);
  Pairs by_query;
  int64_t before = INT64_MAX;
  for (const auto& t : part_of<cuda::PackedQueryTile>(plan, plan.query_tiles, plan.num_query_tiles)) {
    const int64_t first_position = t.prefix_length + t.first_row - t.segment_row;
    EXPECT_LE(first_position + t.num_rows, before) << "the longest first";
    before = first_position + t.num_rows;
    for (int64_t i = 0; i < t.num_rows; ++i) {
      for (int64_t p = 0; p <= first_position + i; ++p) {
        ++by_query[{t.first_row + i, p < t.prefix_length ? t.prefix_row + p : t.segment_row + p - t.prefix_length}];
      }
    }
  }
  EXPECT_EQ(by_query, expected);

  const auto items = part_of<cuda::PackedKeyItem>(plan, plan.key_items, plan.num_key_items);
  int64_t num_tiles = 0;
  for (const auto& item : items) num_tiles = std::max<int64_t>(num_tiles, item.key_tile + 1);
  const auto tiles = part_of<cuda::PackedKeyTile>(plan, plan.key_tiles, num_tiles);
  const auto viewers = part_of<cuda::PackedViewer>(plan, plan.viewers, (plan.key_items - plan.viewers) / 4);
  std::vector<std::vector<int>> slots(static_cast<size_t>(plan.num_slots));
  std::map<std::pair<int32_t, int32_t>, int> steps_done;  // (tile, step)
  before = INT64_MAX;
  for (const auto& item : items) {
    EXPECT_LE(item.step_end - item.step_begin, before) << "the longest first";
    before = item.step_end - item.step_begin;
    for (int32_t step = item.step_begin; step < item.step_end; ++step) ++steps_done[{item.key_tile, step}];
    if (item.slot >= 0) slots.at(static_cast<size_t>(item.slot)).push_back(item.key_tile);
  }
  Pairs by_key;
  size_t all_steps = 0;
  for (int32_t t = 0; t < num_tiles; ++t) {
    const auto& tile = tiles[static_cast<size_t>(t)];
    int32_t steps = 0;
    for (int32_t i = 0; i < tile.num_viewers; ++i) {
      const auto& v = viewers[static_cast<size_t>(tile.first_viewer + i)];
      steps += static_cast<int32_t>((v.query_end - v.query_begin + cuda::kStepRows - 1) / cuda::kStepRows);
      for (int64_t n = v.query_begin; n < v.query_end; ++n) {
        for (int64_t key = v.key_begin; key < std::min<int64_t>(v.key_end, n + 1); ++key) {
          EXPECT_TRUE(key >= tile.first_row && key < tile.first_row + tile.num_rows);
          ++by_key[{n, key}];
        }
      }
    }
    EXPECT_EQ(steps, tile.num_steps);
    for (int32_t step = 0; step < steps * H / Hkv; ++step) EXPECT_EQ(1, (steps_done[{t, step}]));
    all_steps += static_cast<size_t>(steps * H / Hkv);
  }
  EXPECT_EQ(by_key, expected);
  EXPECT_EQ(all_steps, steps_done.size());
  int64_t next_slot = 0;
  for (const auto& split : part_of<cuda::PackedSplit>(plan, plan.splits, plan.num_splits)) {
    EXPECT_EQ(next_slot, split.first_slot);
    EXPECT_GE(split.num_slots, 2);
    for (int32_t i = 0; i < split.num_slots; ++i) {
      EXPECT_EQ((std::vector<int>{split.key_tile}), slots[static_cast<size_t>(split.first_slot + i)]);
    }
    next_slot += split.num_slots;
  }
  EXPECT_EQ(next_slot, plan.num_slots);
}

TEST(PackedPlan, CoversEachPairOfQueryAndKeyOnce) {
  expect_complete({}, 0, 1, 1);
  expect_complete({{0, 0, 0, 0}}, 0, 1, 1);
  expect_complete({{0, 1, 0, 0}}, 1, 1, 1);
  expect_complete({{0, 300, 0, 0}, {300, 129, 0, 300}}, 429, 2, 1);
  expect_complete({{0, 130, 0, 0}, {130, 70, 130, 0}, {200, 0, 130, 0}, {200, 5, 130, 0}, {205, 9, 0, 0}}, 214, 6, 2);
  expect_complete({{3, 140, 0, 0}, {150, 20, 101, 33}, {170, 3, 2, 151}}, 180, 1, 1);  // gaps; parts of segments as prompts
}

TEST(PackedPlan, SharesALongKeyTileOut) {
  const std::vector<PackedSegment> segments{{0, 40, 0, 0}, {40, 300, 40, 0}, {340, 300, 40, 0}};
  EXPECT_EQ(0, cuda::make_packed_plan(segments, 640, 2, 1).num_slots);
  EXPECT_GE(cuda::make_packed_plan(segments, 640, 8, 1).num_slots, 3);
  expect_complete(segments, 640, 8, 1);
  // Four prompts of 512 rows with 16 continuations of 512: the partial sums stay below 2,048 tiles and the pieces are even.
  std::vector<PackedSegment> many;
  for (int64_t p = 0, row = 0; p < 4; ++p) {
    const int64_t prompt = row;
    many.push_back({row, 512, 0, 0});
    row += 512;
    for (int g = 0; g < 16; ++g, row += 512) many.push_back({row, 512, 512, prompt});
  }
  const auto plan = cuda::make_packed_plan(many, 4 * 17 * 512, 28, 4);
  EXPECT_GT(plan.num_slots, 0);
  EXPECT_LE(plan.num_slots * 4, 2048);
  EXPECT_LE(cuda::packed_attention_partial_floats({28, 4, 128, 128, 1}, plan), int64_t{2048} * 128 * 256);
}

TEST(PackedPlan, RefusesSegmentsThatItCannotUnderstand) {
  const auto refuses = [](const std::vector<PackedSegment>& segments, int64_t num_rows) {
    EXPECT_THROW(cuda::make_packed_plan(segments, num_rows, 2, 1), std::runtime_error);
  };
  refuses({{0, 5, 0, 0}}, 4);                 // more rows than there are
  refuses({{0, 5, 0, 0}, {4, 5, 0, 0}}, 9);   // a row twice
  refuses({{0, 5, 0, 0}, {5, 4, 6, 0}}, 9);   // its prefix reaches into itself
  refuses({{0, 5, 0, 0}, {5, 4, 3, -1}}, 9);  // before the first row
  refuses({{0, int64_t{1} << 31, 0, 0}}, int64_t{1} << 31);
  EXPECT_THROW(cuda::make_packed_plan({}, 0, 3, 2), std::runtime_error);
}

}  // namespace
}  // namespace r1::test
