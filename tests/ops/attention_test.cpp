#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/ops/cache.h"
#include "r1/ops/ops.h"
#include "reference.h"
#include "support/compare.h"

namespace r1::ops {
namespace {

using test::evaluate;
using test::relative_error;
using torch::Tensor;

PackedLayout tree(const std::vector<std::pair<int64_t, std::vector<int64_t>>>& groups) {
  PackedLayout layout;
  for (const auto& [prompt, completions] : groups) {
    const auto prefix = layout.add_sequence(prompt);
    for (const int64_t n : completions) layout.add_continuation(prefix, n);
  }
  layout.finish();
  return layout;
}

std::vector<Tensor> random_qkv(int64_t N, int64_t H, int64_t Hkv, int64_t D) {
  return {torch::randn({N, H, D}), torch::randn({N, Hkv, D}), torch::randn({N, Hkv, D})};
}

TEST(Attention, ValueAndGradientsMatchAten) {
  torch::manual_seed(1);
  const std::vector<PackedLayout> layouts{tree({{1, {}}}), tree({{40, {}}, {3, {}}}), tree({{17, {5, 1, 30}}}),
                                          tree({{16, {16, 3}}, {33, {2, 0, 20}}, {5, {1}}})};
  for (const auto& layout : layouts) {
    for (const auto& [H, Hkv, D] : std::vector<std::array<int64_t, 3>>{{1, 1, 8}, {4, 2, 16}, {9, 3, 64}, {2, 2, 24}}) {
      const auto inputs = random_qkv(layout.num_rows, H, Hkv, D);
      const double scale = 1 / std::sqrt(static_cast<double>(D));
      const test::TensorFn plain = [&](const auto& x) { return ref::attention(x[0], x[1], x[2], layout, scale); };
      const auto exact = evaluate(plain, inputs, torch::kDouble), aten = evaluate(plain, inputs, torch::kFloat);
      const auto got = evaluate([&](const auto& x) { return attention(x[0], x[1], x[2], layout, scale); }, inputs, torch::kFloat);
      EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 3e-7);
      // With one key the true gradient of q and k is 0 and what remains is the rounding of dP - delta, both about 8.
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]),
                  2 * relative_error(aten.gradients[i], exact.gradients[i]) + (layout.num_rows == 1 ? 4e-6 : 5e-7))
            << "gradient " << i << " H=" << H << " D=" << D;
      }
    }
  }
}

// MLA's form: one latent is key and value of all heads.
TEST(Attention, ALatentServesAsKeyAndValue) {
  torch::manual_seed(7);
  for (const auto& layout : {tree({{1, {}}}), tree({{17, {5, 1, 30}}}), tree({{16, {16, 3}}, {33, {2, 0, 20}}, {5, {1}}})}) {
    for (const auto& [H, D] : std::vector<std::array<int64_t, 2>>{{1, 8}, {4, 18}, {5, 48}, {64, 36}}) {
      const std::vector<Tensor> inputs{torch::randn({layout.num_rows, H, D}), torch::randn({layout.num_rows, 1, D})};
      const double scale = 1 / std::sqrt(static_cast<double>(D));
      const test::TensorFn plain = [&](const auto& x) { return ref::attention(x[0], x[1], x[1], layout, scale); };
      const auto exact = evaluate(plain, inputs, torch::kDouble), aten = evaluate(plain, inputs, torch::kFloat);
      const auto got = evaluate([&](const auto& x) { return attention(x[0], x[1], {}, layout, scale); }, inputs, torch::kFloat);
      EXPECT_LE(relative_error(got.value, exact.value), 2 * relative_error(aten.value, exact.value) + 3e-7);
      for (size_t i = 0; i < 2; ++i) {
        // The latent's gradient is one chain over the rows of all heads, up to 64 x 48 terms; ATen adds per head.
        const double chain = H == 64 ? 4e-6 : 5e-7;
        EXPECT_LE(relative_error(got.gradients[i], exact.gradients[i]),
                  2 * relative_error(aten.gradients[i], exact.gradients[i]) + (layout.num_rows == 1 ? 4e-6 : chain))
            << "gradient " << i << " H=" << H << " D=" << D;
      }
      const torch::NoGradGuard no_grad;  // the same bits as with the latent stored twice
      EXPECT_TRUE(torch::equal(attention(inputs[0], inputs[1], {}, layout, scale), attention(inputs[0], inputs[1], inputs[1], layout, scale)));
    }
  }
}

TEST(Attention, SharedPrefixGivesTheBitsOfWholeSequences) {
  torch::manual_seed(2);
  const int64_t P = 21, H = 6, Hkv = 2, D = 32;
  const std::vector<int64_t> lengths{4, 11, 30};
  const auto shared = tree({{P, lengths}});
  const auto qkv = random_qkv(shared.num_rows, H, Hkv, D);
  const auto packed = attention(qkv[0], qkv[1], qkv[2], shared, 0.2);
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto& s = shared.segments[i + 1];
    PackedLayout alone;
    alone.add_sequence(P + lengths[i]);
    alone.finish();
    std::vector<Tensor> whole;
    for (const auto& x : qkv) whole.push_back(torch::cat({x.narrow(0, 0, P), x.narrow(0, s.first_row, s.num_rows)}));
    const auto expected = attention(whole[0], whole[1], whole[2], alone, 0.2);
    EXPECT_TRUE(torch::equal(packed.narrow(0, s.first_row, s.num_rows), expected.narrow(0, P, lengths[i]))) << i;
    EXPECT_TRUE(torch::equal(packed.narrow(0, 0, P), expected.narrow(0, 0, P))) << i;
  }
}

TEST(Attention, ALaterTokenChangesNothingBefore) {
  torch::manual_seed(3);
  const auto layout = tree({{50, {}}});
  auto qkv = random_qkv(50, 2, 1, 16);
  const auto before = attention(qkv[0], qkv[1], qkv[2], layout, 0.25);
  for (auto& x : qkv) x.narrow(0, 30, 20).normal_();
  const auto after = attention(qkv[0], qkv[1], qkv[2], layout, 0.25);
  EXPECT_TRUE(torch::equal(before.narrow(0, 0, 30), after.narrow(0, 0, 30)));
  EXPECT_FALSE(torch::equal(before.narrow(0, 30, 20), after.narrow(0, 30, 20)));
}

}  // namespace
// One sequence goes through the tile of prefill, forty through the kernel of decoding tokens: the same bits.
TEST(Attention, DecodingManySequencesGivesTheBitsOfEachAlone) {
  torch::manual_seed(5);
  for (const auto& [heads, width] : {std::pair<int64_t, int64_t>{10, 32}, {3, 64}, {1, 20}}) {
    constexpr int64_t kSequences = 40;
    const torch::NoGradGuard no_grad;
    std::vector<std::vector<int32_t>> tables(kSequences);
    int32_t next_page = 0;
    for (int64_t s = 0; s < kSequences; ++s) {
      for (int64_t p = 0; p <= s / ops::page_tokens(); ++p) tables[static_cast<size_t>(s)].push_back(next_page++);
    }
    auto together = ops::KvStore::create(next_page, heads, width, false, torch::kFloat);
    auto alone = ops::KvStore::create(next_page, heads, width, false, torch::kFloat);
    const auto random = [&](int64_t rows) { return torch::randn({rows, heads, width}); };
    std::vector<ops::CacheRun> tokens;
    for (int64_t s = 0; s < kSequences; ++s) {  // sequence s has s tokens before this one
      auto* table = &tables[static_cast<size_t>(s)];
      const auto k = random(s), v = random(s), q = random(s);
      for (auto* store : {&together, &alone}) {
        if (s > 0) ops::cached_attention(q, k, v, *store, {{0, s, 0, table}}, 0.2);
      }
      tokens.push_back({s, 1, s, table});
    }
    const auto q = random(kSequences), k = random(kSequences), v = random(kSequences);
    const auto out = ops::cached_attention(q, k, v, together, tokens, 0.2);
    for (int64_t s = 0; s < kSequences; ++s) {
      const auto row = [&](const torch::Tensor& x) { return x.narrow(0, s, 1).contiguous(); };
      const auto one = ops::cached_attention(row(q), row(k), row(v), alone, {{0, 1, s, &tables[static_cast<size_t>(s)]}}, 0.2);
      EXPECT_TRUE(torch::equal(one, row(out))) << heads << " heads of " << width << ", " << s << " tokens before";
    }
  }
}

}  // namespace r1::ops
