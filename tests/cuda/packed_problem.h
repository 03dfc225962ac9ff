#pragma once
#include <functional>
#include <vector>

#include "cuda/numbers.h"
#include "kernels/attention/attention_cuda.h"
#include "support/device_array.h"

// A packed attention problem for the kernel tests: random inputs, the definition in plain loops, and the kernels' own
// results.
namespace r1::test {

namespace cuda = kernels::cuda;

/// Segments by their lengths: {rows, index of the segment that is its prefix, or -1}.
struct Part {
  int64_t rows;
  int64_t prefix;
};

struct PackedProblem {
  cuda::PackedAttentionShape shape;
  std::vector<cuda::PackedSegment> segments;
  int64_t num_rows = 0;
  std::vector<Bf16> q, k, v, dout;  // [N, H, D] each

  PackedProblem(int64_t H, int64_t Hkv, int64_t key_dim, int64_t value_dim, const std::vector<Part>& parts,
                uint32_t seed = 1)
      : shape{H, Hkv, key_dim, value_dim, 1.0f / std::sqrt(static_cast<float>(key_dim))} {
    for (const auto& part : parts) {
      const auto prefix = part.prefix < 0 ? cuda::PackedSegment{} : segments[static_cast<size_t>(part.prefix)];
      segments.push_back({num_rows, part.rows, part.prefix < 0 ? 0 : prefix.num_rows, prefix.first_row});
      num_rows += part.rows;
    }
    q = random_values<Bf16>(num_rows * H * key_dim, seed, 1.5);
    k = random_values<Bf16>(num_rows * Hkv * key_dim, seed + 1, 1.5);
    v = random_values<Bf16>(num_rows * Hkv * value_dim, seed + 2);
    dout = random_values<Bf16>(num_rows * H * value_dim, seed + 3);
  }
};

template <class A>
struct PackedResults {
  std::vector<A> out, lse, dq, dk, dv;  // lse [H, N]
};

/// The definition, in A. `rounded`: what meets a tensor core as an operand or is kept for the backward pass (weights,
/// their gradients, out) passes through bf16. Plain ATen in bf16 rounds more: scores too, and each product's result.
template <class A, class T>
PackedResults<A> packed_definition(const PackedProblem& p, const std::vector<T>& q, const std::vector<T>& k,
                                   const std::vector<T>& v, const std::vector<T>& dout, bool rounded) {
  const auto& s = p.shape;
  const int64_t H = s.num_heads, Hkv = s.num_kv_heads, D = s.key_dim, Dv = s.value_dim, N = p.num_rows;
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  PackedResults<A> r{std::vector<A>(size(N * H * Dv)), std::vector<A>(size(H * N)), std::vector<A>(size(N * H * D)),
                     std::vector<A>(size(N * Hkv * D)), std::vector<A>(size(N * Hkv * Dv))};
  const auto as_a = [](const std::vector<T>& x) {
    std::vector<A> y;
    for (const T e : x) y.push_back(static_cast<A>(value(e)));
    return y;
  };
  const std::vector<A> qa = as_a(q), ka = as_a(k), va = as_a(v), da = as_a(dout);
  const auto operand = [&](A x) { return rounded ? static_cast<A>(value(round_to<Bf16>(static_cast<double>(x)))) : x; };
  std::vector<A> scores, dweights;
  for (const auto& segment : p.segments) {
    for (int64_t i = 0; i < segment.num_rows; ++i) {
      const int64_t n = segment.first_row + i, length = segment.first_position + i + 1;
      const auto row_of = [&](int64_t j) {
        return j < segment.first_position ? segment.prefix_row + j : segment.first_row + j - segment.first_position;
      };
      for (int64_t h = 0; h < H; ++h) {
        const int64_t hk = h / (H / Hkv);
        const A *query = &qa[size((n * H + h) * D)], *grad = &da[size((n * H + h) * Dv)];
        A* out = &r.out[size((n * H + h) * Dv)];
        scores.assign(size(length), 0);
        dweights.assign(size(length), 0);
        A largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < length; ++j) {
          const A* key = &ka[size((row_of(j) * Hkv + hk) * D)];
          for (int64_t d = 0; d < D; ++d) scores[size(j)] += query[d] * key[d];
          scores[size(j)] *= static_cast<A>(s.scale);
          largest = std::max(largest, scores[size(j)]);
        }
        for (auto& x : scores) sum += x = std::exp(x - largest);
        r.lse[size(h * N + n)] = largest + std::log(sum);
        for (int64_t j = 0; j < length; ++j) {
          const A* val = &va[size((row_of(j) * Hkv + hk) * Dv)];
          scores[size(j)] /= sum;
          for (int64_t d = 0; d < Dv; ++d) {
            out[d] += operand(scores[size(j)]) * val[d];
            dweights[size(j)] += grad[d] * val[d];
          }
        }
        A mean = 0;
        for (int64_t d = 0; d < Dv; ++d) mean += grad[d] * operand(out[d]);
        for (int64_t j = 0; j < length; ++j) {
          const int64_t row = row_of(j) * Hkv + hk;
          const A ds = operand(scores[size(j)] * (dweights[size(j)] - mean)) * static_cast<A>(s.scale);
          for (int64_t d = 0; d < D; ++d) {
            r.dq[size((n * H + h) * D + d)] += ds * ka[size(row * D + d)];
            r.dk[size(row * D + d)] += ds * query[d];
          }
          for (int64_t d = 0; d < Dv; ++d) r.dv[size(row * Dv + d)] += operand(scores[size(j)]) * grad[d];
        }
      }
    }
  }
  return r;
}

/// What the kernels make of it, tensors side by side.
struct PackedRun {
  std::vector<Bf16> out, dq, dk, dv;
  std::vector<float> lse;
};

inline PackedRun run_packed(const PackedProblem& p, bool backward = true) {
  const auto& s = p.shape;
  const int64_t H = s.num_heads, Hkv = s.num_kv_heads, N = p.num_rows;
  const auto plan = cuda::make_packed_plan(p.segments, N, H, Hkv);
  DeviceArray<int32_t> words(plan.words, "plan");
  DeviceArray<Bf16> q(p.q, "q"), k(p.k, "k"), v(p.v, "v"), dout(p.dout, "dout"), out(N * H * s.value_dim, "out");
  DeviceArray<Bf16> dq(N * H * s.key_dim, "dq"), dk(N * Hkv * s.key_dim, "dk"), dv(N * Hkv * s.value_dim, "dv");
  DeviceArray<float> lse(H * N, "lse"), delta(H * N, "delta"),
      partial(cuda::packed_attention_partial_floats(s, plan), "partial");
  const auto in = [](DeviceArray<Bf16>& x, int64_t heads, int64_t width) {
    return cuda::HeadRows<const Bf16>{x.data(), heads * width, width};
  };
  const auto result = [](DeviceArray<Bf16>& x, int64_t heads, int64_t width) {
    return cuda::HeadRows<Bf16>{x.data(), heads * width, width};
  };
  cuda::attention_packed_forward(s, plan, words.data(), in(q, H, s.key_dim), in(k, Hkv, s.key_dim), in(v, Hkv, s.value_dim),
                                 result(out, H, s.value_dim), lse.data(), nullptr);
  if (!backward) return {out.to_host(), {}, {}, {}, lse.to_host()};
  cuda::attention_packed_backward(s, plan, words.data(), in(q, H, s.key_dim), in(k, Hkv, s.key_dim),
                                  in(v, Hkv, s.value_dim), in(out, H, s.value_dim), lse.data(), in(dout, H, s.value_dim),
                                  result(dq, H, s.key_dim), result(dk, Hkv, s.key_dim), result(dv, Hkv, s.value_dim),
                                  delta.data(), partial.data(), nullptr);
  return {out.to_host(), dq.to_host(), dk.to_host(), dv.to_host(), lse.to_host()};
}

}  // namespace r1::test
