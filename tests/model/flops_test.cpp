#include "r1/model/flops.h"

#include <gtest/gtest.h>

namespace r1::model {
namespace {

// By hand: C 8, F 12, 2 layers, 2 heads of width 4, 1 key head, V 10, untied.
// A block: q 64, k 32, v 32, o 64, gate, up, down 3 x 96, two norms 16: 496. Final norm 8.
ModelConfig small(bool tied) {
  ModelConfig c;
  c.vocab_size = 10;
  c.hidden_size = 8;
  c.intermediate_size = 12;
  c.num_layers = 2;
  c.num_heads = 2;
  c.num_kv_heads = 1;
  c.head_dim = 4;
  c.tie_embeddings = tied;
  return c;
}

TEST(Flops, ShapeOfAModelByHand) {
  for (const bool tied : {false, true}) {
    const auto shape = FlopShape::of(small(tied));
    EXPECT_EQ(shape.block_parameters, 2 * 496 + 8) << tied;
    EXPECT_EQ(shape.head_parameters, 80);
    EXPECT_EQ(shape.attention_per_pair, 2 * 2 * (2 * 4 + 2 * 4));  // per layer and head: 2 x 4 for q.k, 2 x 4 for p v
  }
}

TEST(Flops, CountsOfPackedSequencesByHand) {
  ops::PackedLayout layout;
  const auto prompt = layout.add_sequence(5);  // 1 + 2 + 3 + 4 + 5
  layout.add_continuation(prompt, 2);          // 6 + 7
  layout.add_continuation(prompt, 1);          // 6
  layout.add_sequence(3);                      // 1 + 2 + 3
  const auto counts = counts_of(layout, 4);
  EXPECT_EQ(counts.tokens, 11);
  EXPECT_EQ(counts.logit_rows, 4);
  EXPECT_EQ(counts.attended, 15 + 13 + 6 + 6);
  EXPECT_EQ(counts_of(2, 5, 2).attended, 26);
}

TEST(Flops, PassesByHand) {
  const FlopShape shape{1000, 80, 64};
  const PassCounts counts{11, 4, 40};
  EXPECT_EQ(forward_flops(shape, counts), 22000 + 640 + 2560);
  EXPECT_EQ(training_flops(shape, counts, false), 3 * (22000 + 2560) + 4 * 640);
  EXPECT_EQ(training_flops(shape, counts, true), 4 * (22000 + 2560 + 640));
  auto sum = counts;
  sum += {1, 2, 3};
  EXPECT_EQ(forward_flops(shape, sum - counts), 2000 + 320 + 192);
}

}  // namespace
}  // namespace r1::model
