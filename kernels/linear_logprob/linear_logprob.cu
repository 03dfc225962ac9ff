// linear + log-softmax + gather, and its gradient; the logits live in registers only.
//   z = h w^T / T,  lse[n] = log sum_v e^z[n,v],  logprob[n] = z[n, target[n]] - lse[n],  entropy[n] = lse - sum_v p z
//   dz[n,v] = grad[n] (1[v = target[n]] - e^(z - lse)) / T          h [N, C], w [V, C], dz [N, piece of V] bf16
//
// Forward: a block owns 128 rows and one of 16 runs of vocabulary tiles (128 x 128 products,
// kernels/device/gemm_tile.h). A thread keeps maximum, sum and weighted sum of the columns it sees, for each
// of its 8 rows, over all tiles; they meet once, at the end, over 4 lanes, 4 warps and 16 runs, in that
// order. 16 is fixed, so a row's bits do not depend on N or the card. Blocks of the same run are neighbours
// in the grid, so that w is read from memory once and h stays in L2. Backward: the same product again, one
// tile a block, stored as bf16 gradients for a dense product (cuBLAS) over pieces of V.
//
// FLOPs 2 N C V each; bytes 2 V C + 2 N C (+ 2 N V backward). N = 8192, C = 896, V = 151,936: 2.23 TFLOP, 287
// MB. At the 780 TFLOP/s that cuBLAS reaches on an H100: 2.9 ms; mma.sync without wgmma reaches about 60 % of
// that: 4.8 ms (estimated). torch: linear + cross-entropy forward and backward 30.3 ms and 14.2 GiB.
#include "kernels/device/gemm_tile.h"
#include "kernels/device/launch.h"
#include "kernels/linear_logprob/linear_logprob_cuda.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kRuns = 16;
constexpr float kNegativeInfinity = -INFINITY;

// Of the numbers z seen: maximum, sum of e^(z - maximum), sum of (z - maximum) e^(z - maximum).
struct Stats {
  float maximum, sum, weighted;
};

__forceinline__ __device__ Stats moved(Stats s, float maximum) {
  if (s.maximum == maximum || s.maximum == kNegativeInfinity) return {maximum, s.sum, s.weighted};
  const float d = s.maximum - maximum, scale = expf(d);
  return {maximum, s.sum * scale, (s.weighted + s.sum * d) * scale};
}
__forceinline__ __device__ Stats merged(Stats a, Stats b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  a = moved(a, maximum);
  b = moved(b, maximum);
  return {maximum, a.sum + b.sum, a.weighted + b.weighted};
}

__global__ void __launch_bounds__(GemmTile::kThreads)
    logprob_forward_kernel(int64_t N, int64_t C, int64_t V, int64_t row_tiles, const Bf16* h, const Bf16* w,
                           const int64_t* targets, float inv_temperature, float* target_logits,
                           float* partial) {
  R1_DYNAMIC_SHARED(bytes);
  auto* shared = reinterpret_cast<Bf16*>(bytes);
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) % row_tiles * GemmTile::kRows,
                run = static_cast<int64_t>(blockIdx.x) / row_tiles;
  const int64_t tiles = (V + GemmTile::kColumns - 1) / GemmTile::kColumns,
                per_run = (tiles + kRuns - 1) / kRuns;
  Stats stats[8];  // row (i, half) at 2 i + half
  int64_t target[8];
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const int64_t n = first_row + GemmTile::row(r / 2, r % 2);
    stats[r] = {kNegativeInfinity, 0, 0};
    target[r] = n < N ? targets[n] : -1;
  }
  GemmTile tile;
  for (int64_t v0 = run * per_run * GemmTile::kColumns; v0 < min(V, (run + 1) * per_run * GemmTile::kColumns);
       v0 += GemmTile::kColumns) {
    tile.run({h + first_row * C, N - first_row, C}, {w + v0 * C, V - v0, C}, static_cast<int>(C), shared);
#pragma unroll
    for (int r = 0; r < 8; ++r) {
      float maximum = stats[r].maximum;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& z = tile.sums[r / 2][j][r % 2 * 2 + e];
          const int64_t v = v0 + GemmTile::column(j) + e;
          z = v < V ? z * inv_temperature : kNegativeInfinity;
          if (v == target[r]) target_logits[first_row + GemmTile::row(r / 2, r % 2)] = z;
          maximum = fmaxf(maximum, z);
        }
      }
      if (maximum == kNegativeInfinity) continue;  // a run's last tile may end before this thread's columns
      Stats s = moved(stats[r], maximum);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (v0 + GemmTile::column(j) + e >= V) continue;
          const float d = tile.sums[r / 2][j][r % 2 * 2 + e] - maximum, x = exp_fast(d);
          s.sum += x;
          s.weighted = fmaf(d, x, s.weighted);
        }
      }
      stats[r] = s;
    }
  }
  auto* of_warp = reinterpret_cast<Stats*>(
      bytes);  // [4 warps of columns][128 rows]; the product is done with shared memory
#pragma unroll
  for (int r = 0; r < 8; ++r) {
#pragma unroll
    for (int offset = 1; offset < 4; offset *= 2) {
      const Stats other{__shfl_xor_sync(kFullWarp, stats[r].maximum, offset),
                        __shfl_xor_sync(kFullWarp, stats[r].sum, offset),
                        __shfl_xor_sync(kFullWarp, stats[r].weighted, offset)};
      // The lower lane's part comes first on both sides: the same bits.
      stats[r] = lane_id() & offset ? merged(other, stats[r]) : merged(stats[r], other);
    }
    if (lane_id() % 4 == 0) of_warp[warp_id() % 4 * GemmTile::kRows + GemmTile::row(r / 2, r % 2)] = stats[r];
  }
  __syncthreads();
  const int row = static_cast<int>(threadIdx.x);
  if (row >= GemmTile::kRows || first_row + row >= N) return;
  Stats s = of_warp[row];
  for (int warp = 1; warp < 4; ++warp) s = merged(s, of_warp[warp * GemmTile::kRows + row]);
  float* out = partial + ((first_row + row) * kRuns + run) * 3;
  out[0] = s.maximum;
  out[1] = s.sum;
  out[2] = s.weighted;
}

__global__ void logprob_merge_kernel(int64_t N, int64_t V, const int64_t* targets, const float* partial,
                                     const float* target_logits, float* logprobs, float* lse,
                                     float* entropy) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= N) return;
  Stats s{kNegativeInfinity, 0, 0};
  for (int run = 0; run < kRuns; ++run) {
    const float* p = partial + (n * kRuns + run) * 3;
    if (p[0] != kNegativeInfinity || p[1] != 0) s = merged(s, {p[0], p[1], p[2]});
  }
  const float log_sum = logf(s.sum);
  lse[n] = s.maximum + log_sum;
  const bool inside = targets[n] >= 0 && targets[n] < V;
  logprobs[n] = inside ? target_logits[n] - lse[n] : NAN;
  if (entropy != nullptr) entropy[n] = log_sum - s.weighted / s.sum;
}

__global__ void __launch_bounds__(GemmTile::kThreads, 2)
    dlogits_kernel(int64_t N, int64_t C, int64_t V, int64_t row_tiles, const Bf16* h, const Bf16* w,
                   const int64_t* targets, float inv_temperature, const float* lse, const float* grad,
                   int64_t first_v, int64_t columns, Bf16* dlogits) {
  R1_DYNAMIC_SHARED(bytes);
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) % row_tiles * GemmTile::kRows;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) / row_tiles * GemmTile::kColumns;
  GemmTile tile;
  tile.run({h + first_row * C, N - first_row, C},
           {w + (first_v + first_column) * C, columns - first_column, C}, static_cast<int>(C),
           reinterpret_cast<Bf16*>(bytes));
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const int64_t n = first_row + GemmTile::row(r / 2, r % 2);
    if (n >= N) continue;
    const float scale = grad[n] * inv_temperature, log_sum = lse[n];
    const int64_t target = targets[n];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t column = first_column + GemmTile::column(j) + e;
        if (column >= columns) continue;
        const float p = exp_fast(tile.sums[r / 2][j][r % 2 * 2 + e] * inv_temperature - log_sum);
        // A row without gradient stays 0 also where its logits overflowed.
        const float d = scale == 0.0f ? 0.0f : scale * ((first_v + column == target ? 1.0f : 0.0f) - p);
        dlogits[n * columns + column] = from_float<Bf16>(d);
      }
    }
  }
}

void check(const char* name, int64_t C, const Bf16* h, const Bf16* w) {
  if (C % 8 == 0 && reinterpret_cast<uintptr_t>(h) % 16 == 0 && reinterpret_cast<uintptr_t>(w) % 16 == 0)
    return;
  throw std::runtime_error(std::string(name) + ": width " + std::to_string(C) +
                           "; accepted: a multiple of 8, at 16-byte aligned pointers");
}

}  // namespace

int64_t linear_logprob_partial_floats(int64_t N) { return N * (kRuns * 3 + 1); }

void linear_logprob_forward(int64_t N, int64_t C, int64_t V, const Bf16* h, const Bf16* w,
                            const int64_t* targets, float inv_temperature, float* logprobs, float* lse,
                            float* entropy, float* partial, cudaStream_t stream) {
  check("linear_logprob_forward", C, h, w);
  if (N == 0) return;
  const int64_t row_tiles = ceil_div(N, GemmTile::kRows);
  float* target_logits = partial + N * kRuns * 3;
  launch({.name = "linear_logprob_forward",
          .blocks = row_tiles * kRuns,
          .threads = GemmTile::kThreads,
          .shared_bytes = GemmTile::kSharedBytes,
          .stream = stream},
         logprob_forward_kernel, N, C, V, row_tiles, h, w, targets, inv_temperature, target_logits, partial);
  launch({.name = "linear_logprob_forward", .blocks = ceil_div(N, 128), .threads = 128, .stream = stream},
         logprob_merge_kernel, N, V, targets, partial, target_logits, logprobs, lse, entropy);
}

void linear_logprob_dlogits(int64_t N, int64_t C, int64_t V, const Bf16* h, const Bf16* w,
                            const int64_t* targets, float inv_temperature, const float* lse,
                            const float* grad, int64_t first_v, int64_t columns, Bf16* dlogits,
                            cudaStream_t stream) {
  check("linear_logprob_dlogits", C, h, w);
  if (first_v < 0 || columns < 0 || first_v + columns > V) {
    throw std::runtime_error("linear_logprob_dlogits: columns " + std::to_string(first_v) + " to " +
                             std::to_string(first_v + columns) + " of " + std::to_string(V));
  }
  if (N == 0 || columns == 0) return;
  const int64_t row_tiles = ceil_div(N, GemmTile::kRows);
  launch({.name = "linear_logprob_dlogits",
          .blocks = row_tiles * ceil_div(columns, GemmTile::kColumns),
          .threads = GemmTile::kThreads,
          .shared_bytes = GemmTile::kSharedBytes,
          .stream = stream},
         dlogits_kernel, N, C, V, row_tiles, h, w, targets, inv_temperature, lse, grad, first_v, columns,
         dlogits);
}

}  // namespace r1::kernels::cuda
