// dQ = scale dS K,  dS = P * (dO V^T - delta),  P = e^(scale Q K^T - lse)      arXiv:2307.08691 section 3.1
// q, dq [N, H, key_dim], dO [N, H, value_dim], k, v [N, Hkv, .] bf16, lse, delta [H, N] float32.
//
// A block owns 128 queries of a segment and one head, as in the forward pass, and goes through the keys 32 at a
// time: two products make scores and dO V^T in registers, their difference becomes the left operand of the third.
// Keys and values of the next step arrive by cp.async meanwhile. The other gradients have a pass of their own
// (attention_key_grad.cu) that makes the scores again: 7 products in all where one pass with atomics needs 5, but
// each sum has one owner and one order.
//
// Shared memory, bytes: 256 (key_dim + value_dim) + 2 stages of 64 (key_dim + value_dim): 48 KB (64), 96 KB (128),
// 120 KB (192/128).
// FLOPs: 4 key_dim + 2 value_dim for each head and pair (query, key seen). T = 4096, H = 32, D = 128: 206 GFLOP a
// sequence: 0.21 ms at the 989 TFLOP/s of an H100; 0.35 ms at what mma.sync reaches at best (estimated).
#include "kernels/attention/flash_tile.h"
#include "kernels/attention/packed_backward.h"
#include "kernels/attention/packed_tiles.h"
#include "kernels/device/launch.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kRows = static_cast<int>(kTileRows), kKeys = 32, kStages = 2;

template <int kQk, int kV>
constexpr size_t shared_bytes() {
  return (kRows + kStages * kKeys) * (kQk + kV) * sizeof(Bf16);
}

template <int kQk, int kV, int kWarps>
__global__ void __launch_bounds__(kWarps * 32) query_grad_kernel(PackedGradArguments a) {
  constexpr int kThreads = kWarps * 32, M = kRows / kWarps / 16, kStage = kKeys * (kQk + kV);
  R1_DYNAMIC_SHARED(bytes);
  auto* q_tile = reinterpret_cast<Bf16*>(bytes);
  Bf16 *dout_tile = q_tile + kRows * kQk, *stages = dout_tile + kRows * kV;  // a stage: keys, then values
  const int block = static_cast<int>(blockIdx.x), head = block % a.num_heads, kv_head = head / a.group;
  const PackedQueryTile tile = a.query_tiles[block / a.num_heads];
  const int first_position = tile.prefix_length + tile.first_row - tile.segment_row, length = first_position + tile.num_rows;
  const int own = tile.segment_row - tile.prefix_length;
  const auto query_of = [&](int r) { return r < tile.num_rows ? tile.first_row + r : -1; };
  TileRows<kQk>::template load<kRows, kThreads>(q_tile, a.q.data + head * a.q.head_stride, a.q.row_stride, query_of);
  TileRows<kV>::template load<kRows, kThreads>(dout_tile, a.dout.data + head * a.dout.head_stride, a.dout.row_stride,
                                               query_of);
  const auto load_keys = [&](int key, int stage) {
    const auto row_of = [&](int r) {
      const int position = key + r, row = position + (position < tile.prefix_length ? tile.prefix_row : own);
      return position < length ? row : -1;
    };
    const int from = computed_here(kv_head);
    Bf16* to = stages + stage * kStage;
    TileRows<kQk>::template load<kKeys, kThreads>(to, a.k.data + from * a.k.head_stride, a.k.row_stride, row_of);
    TileRows<kV>::template load<kKeys, kThreads>(to + kKeys * kQk, a.v.data + from * a.v.head_stride, a.v.row_stride,
                                                 row_of);
  };
  load_keys(0, 0);
  cp_async_commit();

  const int first_row = warp_id() * M * 16, lane = lane_id();
  float log_sum[M][2], delta[M][2];
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = first_row + i * 16 + h * 8 + lane / 4;
      const int64_t at = head * a.num_rows + tile.first_row + row;
      log_sum[i][h] = row < tile.num_rows ? a.lse[at] * kLog2E : INFINITY;  // weights of 0 behind the last query
      delta[i][h] = row < tile.num_rows ? a.delta[at] : 0.0f;
    }
  }
  const auto queries = Lanes<kQk>::of(q_tile + first_row * kQk);
  const auto douts = lanes_behind<kV>(queries, dout_tile + first_row * kV, q_tile + first_row * kQk);
  const auto keys = Lanes<kQk>::of(stages);
  const auto values = lanes_behind<kV>(keys, stages + kKeys * kQk, stages);
  const float scale_log2 = a.scale * kLog2E;
  const int ahead = first_position + first_row + lane / 4 - lane % 4 * 2;  // the first query less the first key of the thread
  float sums[M][kQk / 8][4];
  clear(sums);
  int stage = 0;
  for (int key = 0; key < length; key += kKeys) {
    cp_async_wait<0>();
    __syncthreads();  // this step is there for all, and all are done with the one before
    if (key + kKeys < length) load_keys(key + kKeys, stage ^ 1);
    cp_async_commit();
    const int behind = stage * kStage * static_cast<int>(sizeof(Bf16));
    float weights[M][kKeys / 8][4], grads[M][kKeys / 8][4];
    clear(weights);
    clear(grads);
    multiply_rows(weights, queries, keys.behind(behind));
    multiply_rows(grads, douts, values.behind(behind));
#pragma unroll
    for (int i = 0; i < M; ++i) {
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j) {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const float weight = exp2_fast(fmaf(weights[i][j][r], scale_log2, -log_sum[i][r / 2]));
          const bool seen = j * 8 + r % 2 - i * 16 - r / 2 * 8 <= ahead - key;
          grads[i][j][r] = seen ? weight * (grads[i][j][r] - delta[i][r / 2]) : 0.0f;
        }
      }
    }
    uint32_t operand[M][kKeys / 16][4];
    as_operand(grads, operand);
    multiply_columns(sums, operand, keys.behind(behind));
    stage ^= 1;
  }
  cp_async_wait<0>();
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int j = 0; j < kQk / 8; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) sums[i][j][r] *= a.scale;
    }
  }
  // The queries of this warp have been read by it alone: their place is free.
  store_rows<kQk>(sums, q_tile + first_row * kQk,
                  a.dq.data + head * a.dq.head_stride + (tile.first_row + first_row) * a.dq.row_stride, a.dq.row_stride,
                  tile.num_rows - first_row);
}

template <int kQk, int kV, int kWarps>
void start(const PackedGradArguments& a, int64_t blocks, cudaStream_t stream) {
  launch({.name = "attention_packed_backward",
          .blocks = blocks,
          .threads = kWarps * 32,
          .shared_bytes = shared_bytes<kQk, kV>(),
          .stream = stream},
         query_grad_kernel<kQk, kV, kWarps>, a);
}

}  // namespace

void start_query_gradients(const PackedGradArguments& a, int64_t num_query_tiles, cudaStream_t stream) {
  const int64_t blocks = num_query_tiles * a.num_heads;
  if (a.key_dim == 64) return start<64, 64, 4>(a, blocks, stream);
  if (a.key_dim == 128) return start<128, 128, 4>(a, blocks, stream);
  start<192, 128, 8>(a, blocks, stream);
}

}  // namespace r1::kernels::cuda
