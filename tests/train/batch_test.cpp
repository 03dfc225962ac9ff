#include "r1/train/batch.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>

namespace r1::train {
namespace {

std::vector<int64_t> values(const torch::Tensor& x) { return {x.data_ptr<int64_t>(), x.data_ptr<int64_t>() + x.numel()}; }

// Trees of uneven lengths, tokens all different; continuation 1 of tree 1 is empty, continuation 0 of tree 2 one token.
std::vector<TokenTree> trees() {
  std::vector<TokenTree> out;
  int32_t next = 100;
  const auto draw = [&](int64_t count) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i) tokens.push_back(next++);
    return tokens;
  };
  const std::vector<std::vector<int64_t>> lengths{{3, 5, 2, 9}, {6, 4, 0, 7}, {1, 1, 12, 3}};  // prompt, continuations
  for (const auto& of_tree : lengths) {
    TokenTree tree{draw(of_tree[0]), {}};
    for (size_t i = 1; i < of_tree.size(); ++i) tree.continuations.push_back(draw(of_tree[i]));
    out.push_back(std::move(tree));
  }
  return out;
}

/// The tokens that the row attends to, itself included: prefix, then its own segment.
std::vector<int64_t> context_of(const PackedBatch& batch, int64_t row) {
  const auto tokens = values(batch.tokens_N);
  for (const auto& s : batch.layout.segments) {
    if (row < s.first_row || row >= s.first_row + s.num_rows) continue;
    std::vector<int64_t> context(tokens.begin() + s.prefix_row, tokens.begin() + s.prefix_row + s.first_position);
    context.insert(context.end(), tokens.begin() + s.first_row, tokens.begin() + row + 1);
    return context;
  }
  return {};
}

TEST(Batch, SmallExampleByHand) {
  const auto batches = pack_micro_batches({{{1, 2}, {{3, 4, 5}, {6}, {}, {7, 8}}}}, 100);
  ASSERT_EQ(batches.size(), 1u);
  const auto& b = batches[0];
  EXPECT_EQ(values(b.tokens_N), (std::vector<int64_t>{1, 2, 3, 4, 7}));
  EXPECT_EQ(values(b.layout.positions_N), (std::vector<int64_t>{0, 1, 2, 3, 2}));
  EXPECT_EQ(values(b.rows_M), (std::vector<int64_t>{1, 2, 3, 1, 1, 4}));
  EXPECT_EQ(values(b.targets_M), (std::vector<int64_t>{3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(values(b.sequence_M), (std::vector<int64_t>{0, 0, 0, 1, 3, 3}));
  EXPECT_EQ(b.members, (std::vector<std::pair<size_t, size_t>>{{0, 0}, {0, 1}, {0, 2}, {0, 3}}));
  EXPECT_EQ(b.layout.num_rows, 5);
}

TEST(Batch, WithoutSharingEveryContinuationHasItsPrompt) {
  const auto batches = pack_micro_batches({{{1, 2}, {{3, 4, 5}, {6}}}}, 100, false);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(values(batches[0].tokens_N), (std::vector<int64_t>{1, 2, 3, 4, 1, 2}));
  EXPECT_EQ(values(batches[0].rows_M), (std::vector<int64_t>{1, 2, 3, 5}));
  EXPECT_EQ(values(batches[0].targets_M), (std::vector<int64_t>{3, 4, 5, 6}));
}

TEST(Batch, ASplitTreeRepeatsItsPrompt) {
  // 2 + 2 + 1 rows fill 5; the third continuation needs its prompt again.
  const auto batches = pack_micro_batches({{{1, 2}, {{3, 4, 5}, {6, 7}, {8, 9}}}}, 5);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(values(batches[0].tokens_N), (std::vector<int64_t>{1, 2, 3, 4, 6}));
  EXPECT_EQ(values(batches[1].tokens_N), (std::vector<int64_t>{1, 2, 8}));
  EXPECT_EQ(batches[1].members, (std::vector<std::pair<size_t, size_t>>{{0, 2}}));
  EXPECT_EQ(values(batches[1].sequence_M), (std::vector<int64_t>{0, 0}));
}

TEST(Batch, EveryTrainedTokenOnceWithItsWholeContextWithinTheBudget) {
  const auto all = trees();
  for (const bool share : {true, false}) {
    for (const int64_t budget : {1, 7, 13, 18, 40, 10000}) {
      std::map<int64_t, int64_t> seen;
      std::vector<std::pair<size_t, size_t>> members;
      for (const auto& b : pack_micro_batches(all, budget, share)) {
        EXPECT_EQ(b.layout.num_rows, b.tokens_N.size(0));
        EXPECT_TRUE(b.layout.num_rows <= budget || b.members.size() == 1) << b.layout.num_rows << " of " << budget;
        const auto rows = values(b.rows_M), targets = values(b.targets_M), sequences = values(b.sequence_M);
        std::map<int64_t, size_t> next;  // place within the sequence
        for (size_t m = 0; m < rows.size(); ++m) {
          ++seen[targets[m]];
          const auto [tree, index] = b.members[static_cast<size_t>(sequences[m])];
          const auto& text = all[tree].continuations[index];
          const size_t place = next[sequences[m]]++;
          ASSERT_LT(place, text.size());
          EXPECT_EQ(targets[m], text[place]);
          std::vector<int64_t> expected(all[tree].prompt.begin(), all[tree].prompt.end());
          expected.insert(expected.end(), text.begin(), text.begin() + static_cast<int64_t>(place));
          EXPECT_EQ(context_of(b, rows[m]), expected);
          EXPECT_EQ(b.layout.positions_N[rows[m]].item<int64_t>(), static_cast<int64_t>(expected.size()) - 1);
        }
        members.insert(members.end(), b.members.begin(), b.members.end());
      }
      EXPECT_EQ(members.size(), 9u);  // the empty one included, each once, in order
      EXPECT_TRUE(std::is_sorted(members.begin(), members.end()));
      EXPECT_EQ(seen.size(), 5u + 2 + 9 + 4 + 0 + 7 + 1 + 12 + 3);
      for (const auto& [token, count] : seen) EXPECT_EQ(count, 1) << token;
    }
  }
}

TEST(Batch, EdgesOfTheInput) {
  EXPECT_TRUE(pack_micro_batches({}, 10).empty());
  EXPECT_TRUE(pack_micro_batches({{{1, 2}, {}}}, 10).empty());
  EXPECT_THROW(pack_micro_batches({{{}, {{1}}}}, 10), c10::Error);
  const auto empty = pack_micro_batches({{{1, 2}, {{}}}}, 10);
  ASSERT_EQ(empty.size(), 1u);
  EXPECT_EQ(empty[0].targets_M.size(0), 0);
  EXPECT_EQ(empty[0].targets_M.scalar_type(), torch::kLong);
  EXPECT_EQ(empty[0].members.size(), 1u);
}

}  // namespace
}  // namespace r1::train
