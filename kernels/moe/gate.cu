// The gate of a mixture of experts, equations at moe_cuda.h, in one pass: logits, scores [N, E] and weights [N, K]
// float32, experts [N, K].
//
// A warp per token: lane l holds the scores of experts l, l + 32, ... in registers; biased scores also lie in
// shared memory, where lane g ranks group g. The K experts come from K rounds of a maximum over the warp (5
// shuffles each). Blocks walk over the tokens and keep a histogram in shared memory, added to the counts
// once, as integers: order does not matter. Backward: a warp per token as well.
//
// Bytes: N E 4 read and written once, N K 12 written; no product worth naming. N = 16384, E = 256, K = 8: 35
// MB, 11 us at 3.35 TB/s (estimated; the K rounds of shuffles are about as long). torch ops with the sort
// took 793 us on an H100.
#include <climits>

#include "kernels/device/launch.h"
#include "kernels/device/reduce.h"
#include "kernels/moe/moe_cuda.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kWarps = 8, kThreads = kWarps * 32;
constexpr int kMaxExperts = 512, kMaxGroups = 32, kMaxChosen = 32;
constexpr float kNegativeInfinity = -INFINITY;

__forceinline__ __device__ bool comes_first(float a, int index_a, float b, int index_b) {
  return a > b || (a == b && index_a < index_b);
}

// A NaN score loses against every number, so that the choice stays K different experts.
__forceinline__ __device__ float rankable(float x) { return x == x ? x : kNegativeInfinity; }

template <int kPer>
__forceinline__ __device__ void scores_of_row(const float* logits, int E, bool sigmoid, float (&s)[kPer]) {
  float largest = kNegativeInfinity;
#pragma unroll
  for (int i = 0; i < kPer; ++i) {
    const int e = i * 32 + lane_id();
    s[i] = e < E ? logits[e] : kNegativeInfinity;
    largest = fmaxf(largest, s[i]);
  }
  if (sigmoid) {
#pragma unroll
    for (int i = 0; i < kPer; ++i) s[i] = 1.0f / (1.0f + expf(-s[i]));
    return;
  }
  largest = warp_max(largest);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kPer; ++i) {
    s[i] = i * 32 + lane_id() < E ? expf(s[i] - largest) : 0.0f;
    sum += s[i];
  }
  const float total = warp_sum(sum);
#pragma unroll
  for (int i = 0; i < kPer; ++i) s[i] = s[i] / total;
}

// Bit g: group g is kept. `biased` [E] in shared memory.
__device__ unsigned kept_groups(const float* biased, int E, const GateShape& shape) {
  const int groups = static_cast<int>(shape.num_groups), size = E / groups, g = lane_id();
  if (groups == 1) return 1;
  float rank = kNegativeInfinity;
  if (g < groups) {
    float first = kNegativeInfinity, second = kNegativeInfinity;
    for (int j = 0; j < size; ++j) {
      const float x = rankable(biased[g * size + j]);
      second = x > first ? first : fmaxf(second, x);
      first = fmaxf(first, x);
    }
    rank = shape.group_by_top_two && size > 1 ? first + second : first;
  }
  int better = 0;
  for (int other = 0; other < groups; ++other) {
    const float x = __shfl_sync(kFullWarp, rank, other);
    better += comes_first(x, other, rank, g) ? 1 : 0;
  }
  return __ballot_sync(kFullWarp, g < groups && better < shape.groups_kept);
}

template <int kPer>
__global__ void __launch_bounds__(kThreads)
    gate_forward_kernel(int64_t N, GateShape shape, const float* logits, const float* bias,
                        const int64_t* chosen, float* scores, int64_t* experts, float* weights,
                        int64_t* counts) {
  R1_SHARED(biased_of_warp, float[kWarps][kPer * 32]);
  R1_SHARED(score_of_warp, float[kWarps][kPer * 32]);
  R1_SHARED(histogram, int[kPer * 32]);
  const int E = static_cast<int>(shape.num_experts), K = static_cast<int>(shape.experts_per_token);
  const int size = E / static_cast<int>(shape.num_groups), lane = lane_id();
  float* biased = biased_of_warp[warp_id()];
  float* score = score_of_warp[warp_id()];
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kThreads) histogram[e] = 0;
  __syncthreads();
  for (int64_t n = static_cast<int64_t>(blockIdx.x) * kWarps + warp_id(); n < N;
       n += static_cast<int64_t>(gridDim.x) * kWarps) {
    float s[kPer];
    scores_of_row<kPer>(logits + n * E, E, shape.sigmoid, s);
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int e = i * 32 + lane;
      if (e >= E) continue;
      scores[n * E + e] = s[i];
      score[e] = s[i];
      biased[e] = s[i] + (bias != nullptr ? bias[e] : 0.0f);
    }
    __syncwarp();
    int mine = 0;  // lane k: the k-th expert
    if (chosen != nullptr) {
      if (lane < K) mine = static_cast<int>(chosen[n * K + lane]);
    } else {
      const unsigned kept = kept_groups(biased, E, shape);
      unsigned taken = 0;  // bit i: expert i * 32 + lane is out of the running
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        const int e = i * 32 + lane;
        if (e >= E || (kept >> (e / size) & 1) == 0) taken |= 1u << i;
      }
      for (int k = 0; k < K; ++k) {
        float best = kNegativeInfinity;
        int at = INT_MAX;
#pragma unroll
        for (int i = 0; i < kPer; ++i) {
          const int e = i * 32 + lane;
          if (taken >> i & 1) continue;
          const float x = rankable(biased[e]);
          if (comes_first(x, e, best, at)) {
            best = x;
            at = e;
          }
        }
#pragma unroll
        for (int offset = 16; offset > 0; offset /= 2) {
          const float x = __shfl_xor_sync(kFullWarp, best, offset);
          const int e = __shfl_xor_sync(kFullWarp, at, offset);
          if (comes_first(x, e, best, at)) {
            best = x;
            at = e;
          }
        }
        if (at % 32 == lane) taken |= 1u << (at / 32);
        if (lane == k) mine = at;
      }
    }
    const float own = lane < K ? score[mine] : 0.0f;
    float factor = shape.scale;
    if (shape.normalize) {
      float sum = 0;  // in order of k, as a plain loop adds
      for (int k = 0; k < K; ++k) sum += __shfl_sync(kFullWarp, own, k);
      factor /= sum + 1e-20f;
    }
    if (lane < K) {
      experts[n * K + lane] = mine;
      weights[n * K + lane] = own * factor;
      if (counts != nullptr) atomicAdd(&histogram[mine], 1);
    }
    __syncwarp();  // the next token writes over biased and score
  }
  if (counts == nullptr) return;
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kThreads) {
    if (histogram[e] > 0) {
      atomicAdd(reinterpret_cast<unsigned long long*>(counts + e),
                static_cast<unsigned long long>(histogram[e]));
    }
  }
}

template <int kPer>
__global__ void __launch_bounds__(kThreads)
    gate_backward_kernel(int64_t N, GateShape shape, const float* scores, const int64_t* experts,
                         const float* dweights, const float* dshares, float* dlogits) {
  const int E = static_cast<int>(shape.num_experts), K = static_cast<int>(shape.experts_per_token),
            lane = lane_id();
  for (int64_t n = static_cast<int64_t>(blockIdx.x) * kWarps + warp_id(); n < N;
       n += static_cast<int64_t>(gridDim.x) * kWarps) {
    float s[kPer], ds[kPer];
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int e = i * 32 + lane;
      s[i] = e < E ? scores[n * E + e] : 0.0f;
      ds[i] = 0;
    }
    if (dweights != nullptr) {
      const int mine = lane < K ? static_cast<int>(experts[n * K + lane]) : 0;
      float grad = lane < K ? dweights[n * K + lane] : 0.0f;
      if (shape.normalize) {
        const float own = lane < K ? scores[n * E + mine] : 0.0f;
        const float sum = warp_sum(own) + 1e-20f, dot = warp_sum(own * grad);
        grad = (grad - dot / sum) / sum;
      }
      grad *= shape.scale;
      for (int k = 0; k < K; ++k) {
        const int e = __shfl_sync(kFullWarp, mine, k);
        const float g = __shfl_sync(kFullWarp, grad, k);
#pragma unroll
        for (int i = 0; i < kPer; ++i) {
          if (e == i * 32 + lane) ds[i] += g;
        }
      }
    }
    if (dshares != nullptr) {
      float sum = 0, dot = 0, share[kPer];
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        const int e = i * 32 + lane;
        share[i] = e < E ? dshares[n * E + e] : 0.0f;
        sum += s[i];
        dot = fmaf(share[i], s[i], dot);
      }
      sum = warp_sum(sum);
      dot = warp_sum(dot) / sum;
#pragma unroll
      for (int i = 0; i < kPer; ++i) ds[i] += (share[i] - dot) / sum;
    }
    float dot = 0;
    if (!shape.sigmoid) {
#pragma unroll
      for (int i = 0; i < kPer; ++i) dot = fmaf(ds[i], s[i], dot);
      dot = warp_sum(dot);
    }
#pragma unroll
    for (int i = 0; i < kPer; ++i) {
      const int e = i * 32 + lane;
      if (e < E) dlogits[n * E + e] = shape.sigmoid ? ds[i] * s[i] * (1.0f - s[i]) : s[i] * (ds[i] - dot);
    }
  }
}

__global__ void bias_update_kernel(int E, const int64_t* counts, float gamma, float* bias) {
  R1_SHARED(total, unsigned long long);
  const int64_t row = static_cast<int64_t>(blockIdx.x) * E;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  unsigned long long sum = 0;
  for (int e = static_cast<int>(threadIdx.x); e < E; e += static_cast<int>(blockDim.x))
    sum += static_cast<unsigned long long>(counts[row + e]);
  atomicAdd(&total, sum);
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < E; e += static_cast<int>(blockDim.x)) {
    const auto share = static_cast<unsigned long long>(counts[row + e]) * static_cast<unsigned long long>(E);
    if (share != total) bias[row + e] += share < total ? gamma : -gamma;
  }
}

void check(const GateShape& s) {
  const auto between = [](int64_t x, int64_t low, int64_t high) { return x >= low && x <= high; };
  if (between(s.num_experts, 1, kMaxExperts) && between(s.num_groups, 1, kMaxGroups) &&
      s.num_experts % s.num_groups == 0 && between(s.groups_kept, 1, s.num_groups) &&
      between(s.experts_per_token, 1, kMaxChosen) &&
      s.experts_per_token <= s.groups_kept * (s.num_experts / s.num_groups)) {
    return;
  }
  throw std::runtime_error("moe_gate: " + std::to_string(s.num_experts) + " experts in " +
                           std::to_string(s.num_groups) + " groups, " + std::to_string(s.groups_kept) +
                           " kept, " + std::to_string(s.experts_per_token) +
                           " per token; accepted: up to 512 experts, 32 groups that divide them, 32 per "
                           "token within the kept groups");
}

// Blocks that walk over the tokens: enough for every card, few enough that the histograms' additions are few.
int64_t gate_blocks(int64_t N) { return ceil_div(N, kWarps) < 1056 ? ceil_div(N, kWarps) : 1056; }

template <class Start>
void with_width(int64_t E, const Start& start) {
  if (E <= 64) return start(std::integral_constant<int, 2>{});
  if (E <= 128) return start(std::integral_constant<int, 4>{});
  if (E <= 256) return start(std::integral_constant<int, 8>{});
  start(std::integral_constant<int, 16>{});
}

}  // namespace

void moe_gate_forward(int64_t N, const GateShape& shape, const float* logits, const float* bias,
                      const int64_t* chosen, float* scores, int64_t* experts, float* weights, int64_t* counts,
                      cudaStream_t stream) {
  check(shape);
  if (N == 0) return;
  with_width(shape.num_experts, [&](auto width) {
    launch({.name = "moe_gate_forward", .blocks = gate_blocks(N), .threads = kThreads, .stream = stream},
           gate_forward_kernel<decltype(width)::value>, N, shape, logits, bias, chosen, scores, experts,
           weights, counts);
  });
}

void moe_gate_backward(int64_t N, const GateShape& shape, const float* scores, const int64_t* experts,
                       const float* dweights, const float* dshares, float* dlogits, cudaStream_t stream) {
  check(shape);
  if (N == 0) return;
  with_width(shape.num_experts, [&](auto width) {
    launch({.name = "moe_gate_backward", .blocks = gate_blocks(N), .threads = kThreads, .stream = stream},
           gate_backward_kernel<decltype(width)::value>, N, shape, scores, experts, dweights, dshares,
           dlogits);
  });
}

void moe_bias_update(int64_t L, int64_t E, const int64_t* counts, float gamma, float* bias,
                     cudaStream_t stream) {
  if (L == 0 || E == 0) return;
  launch({.name = "moe_bias_update", .blocks = L, .threads = 128, .stream = stream}, bias_update_kernel,
         static_cast<int>(E), counts, gamma, bias);
}

}  // namespace r1::kernels::cuda
