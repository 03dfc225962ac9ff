#include "kernels/moe/experts.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"
#include "kernels/rows/rows.h"

namespace r1::kernels {

#define R1_DECLARE(isa)                                                                                     \
  namespace isa {                                                                                           \
  void add_rows(int64_t K, int64_t C, const float* const* rows, const float* weights, float* y);            \
  float swiglu_backward_row(int64_t F, const float* gate, const float* up, const float* dhidden,            \
                            float weight, float* hidden, float* dgate, float* dup);                         \
  }
R1_DECLARE(avx2)
R1_DECLARE(avx512)
#undef R1_DECLARE

namespace {

constexpr int64_t kRowsPerTask = 32;

// Experts in parallel, largest first; with few of them the products inside share the threads instead.
template <typename Fn>
void over_experts(const ExpertOrder& order, int64_t work, const Fn& fn) {
  const auto num_active = static_cast<int64_t>(order.active.size());
  const auto task = [&](int64_t i) { fn(order.active[static_cast<size_t>(i)]); };
  if (work < 100'000 || num_active < 2 * num_threads()) {
    for (int64_t i = 0; i < num_active; ++i) task(i);
  } else {
    parallel_for(num_active, task);
  }
}

template <typename Fn>
void over_tokens(int64_t N, int64_t work_per_token, const Fn& fn) {
  const int64_t tasks = (N + kRowsPerTask - 1) / kRowsPerTask;
  const auto task = [&](int64_t t) {
    for (int64_t n = t * kRowsPerTask; n < std::min(N, (t + 1) * kRowsPerTask); ++n) fn(n);
  };
  if (N * work_per_token < 16384) {
    for (int64_t t = 0; t < tasks; ++t) task(t);
  } else {
    parallel_for(tasks, task);
  }
}

void times_transposed(int64_t M, int64_t O, int64_t I, const float* x, const float* w,
                      const PackedMatrix* packed, float* y) {
  if (packed != nullptr) return gemm_packed(M, row_major(x, I), *packed, y, O);
  gemm(M, O, I, row_major(x, I), transposed(w, I), y, O);
}

// Place of every pair (n, k) in the sorted order.
std::vector<int64_t> places_of(const ExpertOrder& order) {
  std::vector<int64_t> places(order.pairs.size());
  for (size_t i = 0; i < order.pairs.size(); ++i)
    places[static_cast<size_t>(order.pairs[i])] = static_cast<int64_t>(i);
  return places;
}

void gather(const ExpertOrder& order, int64_t first, int64_t count, int64_t C, const float* x, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(out + i * C, x + order.token(first + i) * C, static_cast<size_t>(C) * sizeof(float));
  }
}

}  // namespace

ExpertOrder order_by_expert(int64_t N, int64_t K, int64_t E, const int64_t* experts) {
  ExpertOrder order;
  order.experts_per_token = K;
  order.offsets.assign(static_cast<size_t>(E) + 1, 0);
  order.pairs.resize(static_cast<size_t>(N * K));
  for (int64_t i = 0; i < N * K; ++i) ++order.offsets[static_cast<size_t>(experts[i]) + 1];
  for (size_t e = 0; e < static_cast<size_t>(E); ++e) {
    if (order.offsets[e + 1] > 0) order.active.push_back(static_cast<int64_t>(e));
    order.offsets[e + 1] += order.offsets[e];
  }
  auto next = order.offsets;
  for (int64_t i = 0; i < N * K; ++i)
    order.pairs[static_cast<size_t>(next[static_cast<size_t>(experts[i])]++)] = i;
  std::sort(order.active.begin(), order.active.end(), [&](int64_t a, int64_t b) {
    return order.count(a) != order.count(b) ? order.count(a) > order.count(b) : a < b;
  });
  return order;
}

void sum_pairs(int64_t N, int64_t C, const ExpertOrder& order, const float* rows, const float* weights, float* y) {
  const int64_t K = order.experts_per_token;
  const auto places = places_of(order);
  over_tokens(N, K * C, [&](int64_t n) {
    thread_local std::vector<const float*> of_token;
    of_token.resize(static_cast<size_t>(K));
    for (int64_t k = 0; k < K; ++k) of_token[static_cast<size_t>(k)] = rows + places[static_cast<size_t>(n * K + k)] * C;
    R1_CPU_CALL(add_rows, K, C, of_token.data(), weights == nullptr ? nullptr : weights + n * K, y + n * C);
  });
}

void experts_forward(int64_t N, const ExpertSizes& s, const ExpertOrder& order,
                     const std::vector<ExpertMatrices>& experts, const float* x, const float* weights,
                     float* gate, float* up, float* y) {
  const int64_t C = s.C, F = s.F, K = order.experts_per_token;
  Scratch outputs;
  float* out = outputs.reserve(N * K * C);
  over_experts(order, N * K * C * F, [&](int64_t e) {
    const auto& m = experts[static_cast<size_t>(e)];
    const int64_t first = order.first(e), count = order.count(e);
    float* rows = thread_scratch(4, count * C);
    float* hidden = thread_scratch(5, count * F);
    gather(order, first, count, C, x, rows);
    times_transposed(count, F, C, rows, m.gate, m.packed_gate, gate + first * F);
    times_transposed(count, F, C, rows, m.up, m.packed_up, up + first * F);
    silu_mul_forward(count * F, gate + first * F, up + first * F, hidden);
    times_transposed(count, C, F, hidden, m.down, m.packed_down, out + first * C);
  });
  sum_pairs(N, C, order, out, weights, y);
}

void experts_backward(int64_t N, const ExpertSizes& s, const ExpertOrder& order,
                      const std::vector<ExpertMatrices>& experts, const float* x, const float* weights,
                      const float* gate, const float* up, const float* dy, float* dx, float* dweights,
                      const std::vector<ExpertGradients>& gradients) {
  const int64_t C = s.C, F = s.F, K = order.experts_per_token;
  Scratch inputs;
  float* dinput = inputs.reserve(N * K * C);
  over_experts(order, 3 * N * K * C * F, [&](int64_t e) {
    const auto& m = experts[static_cast<size_t>(e)];
    const auto& g = gradients[static_cast<size_t>(e)];
    const int64_t first = order.first(e), count = order.count(e);
    float* rows = thread_scratch(4, count * C);  // dy, then x
    float* hidden = thread_scratch(5, count * F);
    float* dhidden = thread_scratch(6, count * F);
    float* dgate_up = thread_scratch(7, 2 * count * F);
    float *dgate = dgate_up, *dup = dgate_up + count * F;
    gather(order, first, count, C, dy, rows);
    gemm(count, F, C, row_major(rows, C), row_major(m.down, F), dhidden, F);  // of an output with weight 1
    for (int64_t i = 0; i < count; ++i) {
      const int64_t pair = order.pairs[static_cast<size_t>(first + i)], at = i * F;
      // dw = dy . (down h) = (down^T dy) . h: the expert's output is not needed.
      dweights[pair] = R1_CPU_CALL(swiglu_backward_row, F, gate + first * F + at, up + first * F + at, dhidden + at, weights[pair],
                                   hidden + at, dgate + at, dup + at);
    }
    if (g.down != nullptr) gemm(C, F, count, transposed(rows, C), row_major(hidden, F), g.down, F);
    gemm(count, C, F, row_major(dgate, F), row_major(m.gate, C), dinput + first * C, C);
    gemm(count, C, F, row_major(dup, F), row_major(m.up, C), dinput + first * C, C, true);
    gather(order, first, count, C, x, rows);
    if (g.gate != nullptr) gemm(F, C, count, transposed(dgate, F), row_major(rows, C), g.gate, C);
    if (g.up != nullptr) gemm(F, C, count, transposed(dup, F), row_major(rows, C), g.up, C);
  });
  sum_pairs(N, C, order, dinput, nullptr, dx);
}

}  // namespace r1::kernels
