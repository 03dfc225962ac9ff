// out[n] = sum_j p_j v_j,  p = softmax_j(scale q_n . k_j) over the keys j <= n of n's sequence,  lse[n] = log sum_j e^(scale q_n . k_j)
// q [N, H, key_dim], k [N, Hkv, key_dim], v [N, Hkv, value_dim], out [N, H, value_dim] bf16, lse [H, N] float32.
//
// Online softmax over tiles of keys (arXiv:2205.14135 algorithm 1; 2307.08691 section 3.1: the division comes
// last, a block owns queries). A block owns 128 queries of a segment and one head: 4 warps of 32 rows. It goes
// through the keys by position, 64 at a time from position 0 on, whether they are rows of a shared prompt or its
// own: so a row meets the same tiles in the same order wherever it stands. Scores stay in registers and become
// the left operand of the second product. cp.async brings the values while the scores are made, and the next
// keys while the values are added. Blocks with most keys start first; the heads of a tile are neighbours in the
// grid, so that a group of query heads finds its key head in L2.
//
// Shared memory, bytes: 256 key_dim + 128 (key_dim + value_dim): 32 KB (64), 64 KB (128), 88 KB (192/128); 2
// blocks a multiprocessor.
// FLOPs: 2 (key_dim + value_dim) for each head and pair (query, key seen). Bytes: 2 H (key_dim + value_dim) + 2
// Hkv (key_dim + value_dim) + 4 H a row at least. T = 4096, H = 32, Hkv = 8, D = 128: 137 GFLOP and 84 MB a
// sequence, so compute-bound: 0.14 ms at the 989 TFLOP/s of an H100; mma.sync without wgmma reaches about 60 %
// of that: 0.23 ms at the very best, 0.4 ms expected (estimated). docs/kernels/attention_cuda.md.
#include <stdexcept>
#include <string>

#include "kernels/attention/attention_cuda.h"
#include "kernels/attention/flash_tile.h"
#include "kernels/attention/packed_checks.h"
#include "kernels/attention/packed_tiles.h"
#include "kernels/device/launch.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kRows = static_cast<int>(kTileRows), kKeys = 64, kWarps = 4, kThreads = kWarps * 32;
constexpr int M = kRows / kWarps / 16;
constexpr float kLog2E = 1.4426950408889634f;

struct Arguments {
  HeadRows<const Bf16> q, k, v;
  HeadRows<Bf16> out;
  float* lse;
  const PackedQueryTile* tiles;
  int64_t num_rows;
  int num_heads, group;
  float scale;
};

template <int kQk, int kV>
constexpr size_t shared_bytes() {
  return (kRows * kQk + kKeys * (kQk + kV)) * sizeof(Bf16);
}

// Of the thread's rows: the largest score so far, and the thread's own share of sum e^(score - largest).
struct RowStats {
  float maximum[M][2], sum[M][2];
};

// Scores become e^(scale (score - maximum)); what was summed before is scaled to the new maximum.
template <int kV>
__forceinline__ __device__ void soften(float (&scores)[M][kKeys / 8][4], RowStats& stats, float (&sums)[M][kV / 8][4],
                                       float scale_log2) {
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float maximum = stats.maximum[i][h];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) maximum = fmaxf(maximum, fmaxf(scores[i][j][2 * h], scores[i][j][2 * h + 1]));
      maximum = fmaxf(maximum, __shfl_xor_sync(kFullWarp, maximum, 1));
      maximum = fmaxf(maximum, __shfl_xor_sync(kFullWarp, maximum, 2));
      const float shift = maximum * scale_log2;
      const float keep = exp2_fast((stats.maximum[i][h] - maximum) * scale_log2);  // exactly 1 where the maximum stays
      float sum = stats.sum[i][h] * keep;
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int e = 2 * h; e < 2 * h + 2; ++e) {
          scores[i][j][e] = exp2_fast(fmaf(scores[i][j][e], scale_log2, -shift));
          sum += scores[i][j][e];
        }
      }
#pragma unroll
      for (int j = 0; j < kV / 8; ++j) {
        sums[i][j][2 * h] *= keep;
        sums[i][j][2 * h + 1] *= keep;
      }
      stats.maximum[i][h] = maximum;
      stats.sum[i][h] = sum;
    }
  }
}

// Divides and stores. What it needs of the tile is read again, so that no register holds it through the loop.
template <int kV>
__forceinline__ __device__ void finish(const Arguments& a, const RowStats& stats, float (&sums)[M][kV / 8][4],
                                       Bf16* rows) {
  const int block = static_cast<int>(blockIdx.x), head = block % a.num_heads, first_row = warp_id() * M * 16;
  const PackedQueryTile tile = a.tiles[block / a.num_heads];
  const int lane = lane_id();
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float sum = stats.sum[i][h];
      sum += __shfl_xor_sync(kFullWarp, sum, 1);
      sum += __shfl_xor_sync(kFullWarp, sum, 2);
      const float inverse = 1.0f / sum;
#pragma unroll
      for (int j = 0; j < kV / 8; ++j) {
        sums[i][j][2 * h] *= inverse;
        sums[i][j][2 * h + 1] *= inverse;
      }
      const int row = first_row + i * 16 + h * 8 + lane / 4;
      if (lane % 4 == 0 && row < tile.num_rows) {
        a.lse[head * a.num_rows + tile.first_row + row] = stats.maximum[i][h] * a.scale + logf(sum);
      }
    }
  }
  store_rows<kV>(sums, rows, a.out.data + head * a.out.head_stride + (tile.first_row + first_row) * a.out.row_stride,
                 a.out.row_stride, tile.num_rows - first_row);
}

template <int kQk, int kV>
__global__ void __launch_bounds__(kThreads, 2) attention_forward_kernel(Arguments a) {
  R1_DYNAMIC_SHARED(bytes);
  auto* q_tile = reinterpret_cast<Bf16*>(bytes);
  Bf16 *k_tile = q_tile + kRows * kQk, *v_tile = k_tile + kKeys * kQk;
  const int block = static_cast<int>(blockIdx.x), head = block % a.num_heads;
  const PackedQueryTile tile = a.tiles[block / a.num_heads];
  const int first_position = tile.prefix_length + tile.first_row - tile.segment_row, length = first_position + tile.num_rows;
  const int kv_head = head / a.group;
  const int own = tile.segment_row - tile.prefix_length;
  const auto row_of = [&](int position) {
    const int row = position + (position < tile.prefix_length ? tile.prefix_row : own);
    return position < length ? row : -1;
  };
  TileRows<kQk>::template load<kRows, kThreads>(q_tile, a.q.data + head * a.q.head_stride, a.q.row_stride,
                                                [&](int r) { return r < tile.num_rows ? tile.first_row + r : -1; });
  TileRows<kQk>::template load<kKeys, kThreads>(k_tile, a.k.data + kv_head * a.k.head_stride, a.k.row_stride, row_of);
  cp_async_commit();

  const int first_row = warp_id() * M * 16, lane = lane_id();
  const auto queries = Lanes<kQk>::of(q_tile + first_row * kQk), keys = Lanes<kQk>::of(k_tile);
  const auto values = lanes_behind<kV>(keys, v_tile, k_tile);
  const float scale_log2 = a.scale * kLog2E;
  const int ahead = first_position + first_row + lane / 4 - lane % 4 * 2;  // the first query less the first key of the thread
  float sums[M][kV / 8][4];
  clear(sums);
  RowStats stats;
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      stats.maximum[i][h] = -INFINITY;
      stats.sum[i][h] = 0;
    }
  }
  for (int key = 0; key < length; key += kKeys) {
    cp_async_wait<0>();
    __syncthreads();  // the keys are there for all, and all are done with the values before
    TileRows<kV>::template load<kKeys, kThreads>(v_tile, a.v.data + computed_here(kv_head) * a.v.head_stride,
                                                 a.v.row_stride, [&](int r) { return row_of(key + r); });
    cp_async_commit();
    float scores[M][kKeys / 8][4];
    clear(scores);
    multiply_rows(scores, queries, keys);
    if (key + kKeys > first_position + first_row) {
#pragma unroll
      for (int i = 0; i < M; ++i) {
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            if (j * 8 + r % 2 - i * 16 - r / 2 * 8 > ahead - key) scores[i][j][r] = -INFINITY;
          }
        }
      }
    }
    soften<kV>(scores, stats, sums, scale_log2);
    uint32_t weights[M][kKeys / 16][4];
    as_operand(scores, weights);
    cp_async_wait<0>();
    __syncthreads();  // the values are there for all, and all are done with the keys
    if (key + kKeys < length) {
      TileRows<kQk>::template load<kKeys, kThreads>(k_tile, a.k.data + computed_here(kv_head) * a.k.head_stride,
                                                    a.k.row_stride, [&](int r) { return row_of(key + kKeys + r); });
      cp_async_commit();
    }
    multiply_columns(sums, weights, values);
  }
  // The queries of this warp have been read by it alone: their place is free.
  finish<kV>(a, stats, sums, q_tile + first_row * kQk);
}

template <int kQk, int kV>
void start(const Arguments& a, int64_t blocks, cudaStream_t stream) {
  launch({.name = "attention_packed_forward",
          .blocks = blocks,
          .threads = kThreads,
          .shared_bytes = shared_bytes<kQk, kV>(),
          .stream = stream},
         attention_forward_kernel<kQk, kV>, a);
}

}  // namespace

void attention_packed_forward(const PackedAttentionShape& shape, const PackedPlan& plan, const int32_t* words,
                              HeadRows<const Bf16> q, HeadRows<const Bf16> k, HeadRows<const Bf16> v,
                              HeadRows<Bf16> out, float* lse, cudaStream_t stream) {
  check_packed("attention_packed_forward", shape, plan);
  check_rows("attention_packed_forward", "q", q);
  check_rows("attention_packed_forward", "k", k);
  check_rows("attention_packed_forward", "v", v);
  check_rows("attention_packed_forward", "out", out);
  if (plan.num_query_tiles == 0) return;
  const Arguments a{q,
                    k,
                    v,
                    out,
                    lse,
                    reinterpret_cast<const PackedQueryTile*>(words + plan.query_tiles),
                    plan.num_rows,
                    static_cast<int>(shape.num_heads),
                    static_cast<int>(shape.num_heads / shape.num_kv_heads),
                    shape.scale};
  const int64_t blocks = plan.num_query_tiles * shape.num_heads;
  if (shape.key_dim == 64) return start<64, 64>(a, blocks, stream);
  if (shape.key_dim == 128) return start<128, 128>(a, blocks, stream);
  start<192, 128>(a, blocks, stream);
}

}  // namespace r1::kernels::cuda
