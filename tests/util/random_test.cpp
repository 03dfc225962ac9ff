#include "r1/util/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "r1/util/error.h"

namespace r1 {
namespace {

using Block = std::array<uint32_t, 4>;

// Known answers published with the paper's reference library (Random123, kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(StageId, IsFnv1a) {
  EXPECT_EQ(stage_id(""), 0x811c9dc5u);
  EXPECT_EQ(stage_id("a"), 0xe40c292cu);
  EXPECT_EQ(stage_id("foobar"), 0xbf9cf968u);
}

DrawKey test_key(uint64_t seed = 1) {
  DrawKey key;
  key.seed = seed;
  key.stream = Stream::kTest;
  return key;
}

// A run must be repeatable with the next version of the program: these values may never change.
// They were computed by a second implementation, in Python integers.
TEST(Draw, ValuesAreFrozen) {
  DrawKey key{.seed = 42,
              .stream = Stream::kSampling,
              .stage = stage_id("grpo"),
              .step = 7,
              .prompt = 3,
              .sample = 2,
              .position = 11};
  EXPECT_EQ(draw_bits(key), (Block{399618773, 3340520245, 62556618, 2198068579}));
  EXPECT_EQ(draw_uniform(key), 0x1.7d1b2d5c71c48p-4);
  EXPECT_EQ(draw_permutation(test_key(), 8), (std::vector<int64_t>{2, 7, 0, 4, 1, 6, 5, 3}));
}

TEST(Draw, EveryCoordinateChangesTheBits) {
  std::set<Block> seen;
  const auto add = [&](auto change) {
    DrawKey key = test_key();
    change(key);
    EXPECT_TRUE(seen.insert(draw_bits(key)).second);
    EXPECT_EQ(draw_bits(key), draw_bits(key));
  };
  add([](DrawKey&) {});
  add([](DrawKey& k) { k.seed = 2; });
  add([](DrawKey& k) { k.seed = uint64_t{1} << 40; });
  add([](DrawKey& k) { k.stream = Stream::kSampling; });
  add([](DrawKey& k) { k.stage = 1; });
  add([](DrawKey& k) { k.step = 1; });
  add([](DrawKey& k) { k.prompt = 1; });
  add([](DrawKey& k) { k.sample = 1; });
  add([](DrawKey& k) { k.position = 1; });
}

TEST(Draw, UniformFillsTheUnitIntervalEvenly) {
  constexpr int kDraws = 20000, kBins = 20;
  for (const int coordinate : {0, 1, 2, 3}) {
    std::vector<int> bins(kBins, 0);
    double sum = 0, squares = 0, neighbours = 0, previous = 0.5;
    for (int i = 0; i < kDraws; ++i) {
      DrawKey key = test_key();
      const auto n = static_cast<uint32_t>(i);
      (coordinate == 0   ? key.position
       : coordinate == 1 ? key.sample
       : coordinate == 2 ? key.prompt
                         : key.step) = n;
      const double u = draw_uniform(key);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++bins[static_cast<size_t>(u * kBins)];
      sum += u;
      squares += u * u;
      neighbours += (u - 0.5) * (previous - 0.5);
      previous = u;
    }
    double chi2 = 0;
    for (const int count : bins) chi2 += std::pow(count - kDraws / kBins, 2) / (kDraws / kBins);
    EXPECT_LT(chi2, 43.8) << "19 degrees of freedom, p = 0.001";
    EXPECT_NEAR(sum / kDraws, 0.5, 4 * std::sqrt(1.0 / 12 / kDraws));
    EXPECT_NEAR(squares / kDraws, 1.0 / 3, 4 * std::sqrt(4.0 / 45 / kDraws));
    EXPECT_NEAR(neighbours / kDraws, 0, 4.0 / 12 / std::sqrt(kDraws));
  }
}

TEST(Draw, UniformUsesAll53Bits) {
  uint64_t ones = 0, zeros = 0;
  for (uint32_t i = 0; i < 200; ++i) {
    DrawKey key = test_key();
    key.position = i;
    const double scaled = draw_uniform(key) * 0x1p53;
    ASSERT_EQ(scaled, std::floor(scaled));
    ones |= static_cast<uint64_t>(scaled);
    zeros |= ~static_cast<uint64_t>(scaled);
  }
  constexpr uint64_t kAll = (uint64_t{1} << 53) - 1;
  EXPECT_EQ(ones & kAll, kAll);
  EXPECT_EQ(zeros & kAll, kAll);
}

TEST(Draw, BelowStaysBelowAndReachesEveryValue) {
  for (const uint64_t n : {uint64_t{1}, uint64_t{2}, uint64_t{7}, uint64_t{100}}) {
    std::vector<int> counts(n, 0);
    const int draws = static_cast<int>(n) * 1000;
    for (int i = 0; i < draws; ++i) {
      DrawKey key = test_key();
      key.position = static_cast<uint32_t>(i);
      const uint64_t value = draw_below(key, n);
      ASSERT_LT(value, n);
      ++counts[value];
    }
    const auto [low, high] = std::minmax_element(counts.begin(), counts.end());
    EXPECT_GT(*low, 850) << n;
    EXPECT_LT(*high, 1150) << n;
  }
  EXPECT_LT(draw_below(test_key(), ~uint64_t{0}), ~uint64_t{0});
  EXPECT_THROW(draw_below(test_key(), 0), Error);
}

TEST(Draw, PermutationHoldsEachIndexOnce) {
  EXPECT_TRUE(draw_permutation(test_key(), 0).empty());
  EXPECT_EQ(draw_permutation(test_key(), 1), std::vector<int64_t>{0});
  auto order = draw_permutation(test_key(), 1000);
  EXPECT_EQ(order, draw_permutation(test_key(), 1000));
  EXPECT_NE(order, draw_permutation(test_key(2), 1000));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_THROW(draw_permutation(test_key(), -1), Error);
  EXPECT_THROW(draw_permutation(test_key(), (int64_t{1} << 32) + 1), Error);
}

TEST(Draw, PermutationsOfThreeAreEquallyLikely) {
  std::vector<int> counts(27, 0);
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const auto p = draw_permutation(test_key(seed), 3);
    ++counts[static_cast<size_t>(p[0] * 9 + p[1] * 3 + p[2])];
  }
  for (const int index : {5, 7, 11, 15, 19, 21})
    EXPECT_NEAR(counts[static_cast<size_t>(index)], 1000, 120) << index;
}

}  // namespace
}  // namespace r1
