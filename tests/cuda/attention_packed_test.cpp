#include "cuda/orders.h"
#include "cuda/packed_problem.h"

namespace r1::test {
namespace {

const std::vector<Part> kShared{{65, -1}, {70, 0}, {1, 0}, {33, 0}};

// In two orders of the threads, when `twice`.
void expect_close(const PackedProblem& p, const std::string& what, bool twice = true) {
  PackedRun run;
  const auto compute = [&] {
    run = run_packed(p);
    std::vector<Bf16> all = run.out;
    for (const auto* x : {&run.dq, &run.dk, &run.dv}) all.insert(all.end(), x->begin(), x->end());
    return all;
  };
  if (twice) {
    deterministic<Bf16>(compute);
  } else {
    compute();
  }
  const auto exact = packed_definition<double>(p, p.q, p.k, p.v, p.dout, false);
  const auto plain = packed_definition<float>(p, p.q, p.k, p.v, p.dout, true);
  EXPECT_TRUE(within_twice_plain(run.out, plain.out, exact.out)) << "out " << what;
  EXPECT_TRUE(within_twice_plain(run.lse, plain.lse, exact.lse, 8.0)) << "lse " << what;
  EXPECT_TRUE(within_twice_plain(run.dq, plain.dq, exact.dq)) << "dq " << what;
  EXPECT_TRUE(within_twice_plain(run.dk, plain.dk, exact.dk)) << "dk " << what;
  EXPECT_TRUE(within_twice_plain(run.dv, plain.dv, exact.dv)) << "dv " << what;
}

TEST(AttentionPackedCuda, AgainstFloat64AtOddLengths) {
  for (const int64_t rows : {0, 1, 31, 129}) expect_close({2, 1, 64, 64, {{rows, -1}}}, std::to_string(rows) + " rows");
  expect_close({1, 1, 64, 64, {{3, -1}, {0, -1}, {130, -1}, {64, -1}, {33, -1}}}, "several segments");
}

TEST(AttentionPackedCuda, AgainstFloat64WithSharedPrompts) {
  for (const int64_t prompt : {1, 15, 64, 65}) {
    expect_close({1, 1, 64, 64, {{5, -1}, {prompt, -1}, {35, 1}, {1, 1}, {64, 1}, {7, -1}}},
                 "prompt of " + std::to_string(prompt));
  }
}

TEST(AttentionPackedCuda, AgainstFloat64ForGroupsOfHeads) {
  expect_close({14, 2, 64, 64, {{17, -1}, {20, 0}, {35, 0}}}, "14:2");
  expect_close({9, 3, 64, 64, {{33, -1}, {9, 0}}}, "9:3");
}

TEST(AttentionPackedCuda, AgainstFloat64AtWiderHeads) {
  expect_close({2, 1, 128, 128, kShared}, "128");
  expect_close({1, 1, 192, 128, kShared}, "192/128");
  expect_close({2, 2, 192, 128, {{129, -1}}}, "192/128, 129 rows");
}

TEST(AttentionPackedCuda, AgainstFloat64WhenAPromptIsSharedOutToSeveralBlocks) {
  for (const int64_t key_dim : {64, 192}) {
    const PackedProblem p(14, 1, key_dim, key_dim == 64 ? 64 : 128, {{5, -1}, {123, 0}});
    EXPECT_GE(cuda::make_packed_plan(p.segments, p.num_rows, 14, 1).num_slots, 2);
    expect_close(p, "split, " + std::to_string(key_dim), key_dim == 64);
  }
}

TEST(AttentionPackedCuda, AgainstFloat64WhenAPromptIsPartOfASegment) {
  PackedProblem p(1, 1, 64, 64, {{140, -1}, {20, -1}, {3, -1}});
  p.segments[1].first_position = 101;  // keys of two tiles, neither of them whole
  p.segments[1].prefix_row = 30;
  p.segments[2].first_position = 2;
  p.segments[2].prefix_row = 141;
  expect_close(p, "part");
}

TEST(AttentionPackedCudaGradient, AgreesWithCentralDifferences) {
  const PackedProblem p(2, 1, 3, 2, {{3, -1}, {2, 0}, {2, 0}});
  std::vector<double> inputs[3], dout;
  for (int i = 0; i < 3; ++i) {
    for (const Bf16 x : i == 0 ? p.q : i == 1 ? p.k : p.v) inputs[i].push_back(value(x));
  }
  for (const Bf16 x : p.dout) dout.push_back(value(x));
  const auto definition = [&] { return packed_definition<double>(p, inputs[0], inputs[1], inputs[2], dout, false); };
  const auto loss = [&] {
    const auto out = definition().out;
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dout[i];
    return sum;
  };
  const auto exact = definition();
  for (int i = 0; i < 3; ++i) {
    const auto& gradient = i == 0 ? exact.dq : i == 1 ? exact.dk : exact.dv;
    for (size_t e = 0; e < inputs[i].size(); ++e) {
      const double x = inputs[i][e];
      inputs[i][e] = x + 1e-6;
      const double above = loss();
      inputs[i][e] = x - 1e-6;
      const double below = loss();
      inputs[i][e] = x;
      EXPECT_NEAR((above - below) / 2e-6, gradient[e], 1e-7) << "input " << i << " element " << e;
    }
  }
}

// Rows [begin, begin + count) of a [N, row] array.
template <class T>
std::vector<T> rows_of(const std::vector<T>& x, int64_t row, int64_t begin, int64_t count) {
  return {x.begin() + begin * row, x.begin() + (begin + count) * row};
}

TEST(AttentionPackedCuda, ARowDoesNotDependOnThePackNorOnSharing) {
  const int64_t H = 2, D = 64, prompt = 70, tail = 61;
  const PackedProblem shared(H, 1, D, D, {{9, -1}, {prompt, -1}, {40, 1}, {tail, 1}, {3, -1}});
  const int64_t first = 9 + prompt + 40;
  PackedProblem alone(H, 1, D, D, {{prompt + tail, -1}});
  for (auto [to, from, row] : {std::tuple{&alone.q, &shared.q, H * D}, {&alone.k, &shared.k, D}, {&alone.v, &shared.v, D}}) {
    *to = rows_of(*from, row, 9, prompt);
    const auto rest = rows_of(*from, row, first, tail);
    to->insert(to->end(), rest.begin(), rest.end());
  }
  const auto a = run_packed(shared, false), b = run_packed(alone, false);
  EXPECT_TRUE(same_bits(rows_of(a.out, H * D, 9, prompt), rows_of(b.out, H * D, 0, prompt)));
  EXPECT_TRUE(same_bits(rows_of(a.out, H * D, first, tail), rows_of(b.out, H * D, prompt, tail)));
  for (int64_t h = 0; h < H; ++h) {
    EXPECT_TRUE(same_bits(rows_of(a.lse, 1, h * shared.num_rows + first, tail), rows_of(b.lse, 1, h * alone.num_rows + prompt, tail)));
  }
}

TEST(AttentionPackedCuda, ReadsPartsOfWiderTensorsAndOffsetsBehindTwoToThe31) {
  // Rows 50,000,000.. of tensors whose first rows are not in memory: q, k and v side by side in one row of 3 x 64.
  const int64_t D = 64, N = 40, first = 50'000'000, stride = 3 * D;
  PackedProblem p(1, 1, D, D, {{25, -1}, {15, 0}});
  const auto expected = run_packed(p);
  auto segments = p.segments;
  for (auto& s : segments) {
    s.first_row += first;
    s.prefix_row += first;
  }
  const auto plan = cuda::make_packed_plan(segments, first + N, 1, 1);
  std::vector<Bf16> side_by_side;
  for (int64_t n = 0; n < N; ++n) {
    for (const auto* x : {&p.q, &p.k, &p.v}) side_by_side.insert(side_by_side.end(), x->begin() + n * D, x->begin() + (n + 1) * D);
  }
  ASSERT_GT(first * stride, int64_t{1} << 31);
  DeviceArray<int32_t> words(plan.words, "plan");
  DeviceArray<Bf16> qkv(side_by_side, "qkv"), dqkv(N * stride, "dqkv"), dout(p.dout, "dout"), out(N * D, "out");
  DeviceArray<float> lse(N, "lse"), delta(N, "delta"), partial(0, "partial");
  const auto part = [&](DeviceArray<Bf16>& x, int64_t row, int64_t at) {
    return cuda::HeadRows<Bf16>{x.data() + at - first * row, row, D};
  };
  const auto in = [&](DeviceArray<Bf16>& x, int64_t row, int64_t at) {
    return cuda::HeadRows<const Bf16>{x.data() + at - first * row, row, D};
  };
  cuda::attention_packed_forward(p.shape, plan, words.data(), in(qkv, stride, 0), in(qkv, stride, D), in(qkv, stride, 2 * D),
                                 part(out, D, 0), lse.data() - first, nullptr);
  cuda::attention_packed_backward(p.shape, plan, words.data(), in(qkv, stride, 0), in(qkv, stride, D), in(qkv, stride, 2 * D),
                                  in(out, D, 0), lse.data() - first, in(dout, D, 0), part(dqkv, stride, 0),
                                  part(dqkv, stride, D), part(dqkv, stride, 2 * D), delta.data() - first, partial.data(), nullptr);
  EXPECT_TRUE(same_bits(out.to_host(), expected.out));
  EXPECT_TRUE(same_bits(lse.to_host(), expected.lse));
  std::vector<Bf16> grads;
  for (int64_t n = 0; n < N; ++n) {
    for (const auto* x : {&expected.dq, &expected.dk, &expected.dv}) grads.insert(grads.end(), x->begin() + n * D, x->begin() + (n + 1) * D);
  }
  EXPECT_TRUE(same_bits(dqkv.to_host(), grads));
}

#if !defined(R1_ON_GPU)
TEST(AttentionPackedCuda, ComputesASharedPromptOnce) {
  const auto flops = [](const std::vector<Part>& parts) {
    emulator::reset_matrix_flops();
    run_packed({1, 1, 64, 64, parts}, false);
    return emulator::matrix_flops();
  };
  // 4 D = 256 operations a pair in tiles of 128 x 64: a prompt of 128 rows meets two tiles of keys, a continuation of
  // 64 rows three; as sequences of their own 192 rows take a second tile of queries, which meets three.
  EXPECT_EQ((2 + 3 + 3) * 128 * 64 * 256, flops({{128, -1}, {64, 0}, {64, 0}}));
  EXPECT_EQ(2 * (2 + 3) * 128 * 64 * 256, flops({{192, -1}, {192, -1}}));
}
#endif

TEST(AttentionPackedCuda, RefusesWhatItCannotCompute) {
  const PackedProblem p(2, 1, 64, 64, {{1, -1}});
  const auto plan = cuda::make_packed_plan(p.segments, 1, 2, 1);
  DeviceArray<Bf16> x(std::vector<Bf16>(1024), "x");
  const auto forward = [&](const cuda::PackedAttentionShape& shape, int64_t row_stride, const Bf16* data) {
    const cuda::HeadRows<const Bf16> in{data, row_stride, 64};
    cuda::attention_packed_forward(shape, plan, nullptr, in, in, in, {x.data(), 128, 64}, nullptr, nullptr);
  };
  EXPECT_FALSE(cuda::packed_attention_supports({2, 1, 96, 96, 1}));
  EXPECT_FALSE(cuda::packed_attention_supports({3, 2, 64, 64, 1}));
  EXPECT_FALSE(cuda::packed_attention_supports({2, 1, 64, 64, 0}));
  EXPECT_TRUE(cuda::packed_attention_supports({2, 1, 192, 128, 1}));
  EXPECT_THROW(forward({2, 1, 96, 96, 1}, 128, x.data()), std::runtime_error);
  EXPECT_THROW(forward({2, 2, 64, 64, 1}, 128, x.data()), std::runtime_error);  // the plan is for another
  EXPECT_THROW(forward({2, 1, 64, 64, 1}, 68, x.data()), std::runtime_error);
  EXPECT_THROW(forward({2, 1, 64, 64, 1}, 128, x.data() + 4), std::runtime_error);
}

}  // namespace
}  // namespace r1::test
