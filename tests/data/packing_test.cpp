#include "r1/data/packing.h"

#include <gtest/gtest.h>

#include "r1/util/random.h"
#include "temp_file.h"

namespace r1 {
namespace {

using Rows = std::vector<std::vector<int64_t>>;

/// First-fit as the definition says it.
Rows plain_first_fit(const std::vector<int64_t>& lengths, int64_t max_tokens) {
  Rows rows;
  std::vector<int64_t> used;
  for (size_t i = 0; i < lengths.size(); ++i) {
    size_t row = 0;
    while (row < rows.size() && used[row] + lengths[i] > max_tokens) ++row;
    if (row == rows.size()) {
      rows.emplace_back();
      used.push_back(0);
    }
    rows[row].push_back(static_cast<int64_t>(i));
    used[row] += lengths[i];
  }
  return rows;
}

TEST(PackByTokens, SmallCases) {
  EXPECT_EQ(pack_by_tokens({}, 10), Rows{});
  EXPECT_EQ(pack_by_tokens({10}, 10), (Rows{{0}}));
  EXPECT_EQ(pack_by_tokens({6, 6, 4, 4}, 10), (Rows{{0, 2}, {1, 3}}));
  EXPECT_EQ(pack_by_tokens({10, 0, 10, 0}, 10), (Rows{{0, 1, 3}, {2}}));
  EXPECT_EQ(pack_by_tokens({0, 0}, 0), (Rows{{0, 1}}));
}

TEST(PackByTokens, EqualsTheDefinition) {
  for (uint32_t round = 0; round < 200; ++round) {
    const DrawKey key{.seed = 1, .stream = Stream::kTest, .step = round};
    std::vector<int64_t> lengths(draw_below(key, 70));
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      auto draw = key;
      draw.position = i + 1;
      lengths[i] = static_cast<int64_t>(draw_below(draw, 41));
    }
    ASSERT_EQ(pack_by_tokens(lengths, 40), plain_first_fit(lengths, 40)) << round;
  }
}

TEST(PackByTokens, TooLongNamesTheSequence) {
  const auto message = error_of([] { pack_by_tokens({3, 11}, 10); });
  EXPECT_HAS(message, "sequence 1");
  EXPECT_HAS(message, "11");
  EXPECT_HAS(message, "10");
}

}  // namespace
}  // namespace r1
