// dV = P^T dO,  dK = scale dS^T Q,  P = e^(scale Q K^T - lse),  dS = P * (dO V^T - delta)   arXiv:2307.08691 section 3.1
// q [N, H, key_dim], dO [N, H, value_dim], k, v, dk, dv [N, Hkv, .] bf16, lse, delta [H, N] float32.
//
// A block owns 128 keys of a segment and one key head, and goes through everybody who sees them in a fixed order: the
// query heads of the group, in each the segment's own later rows and then the continuations of the prompt, 32
// queries a step. A warp owns rows of P^T, so that scores become left operands without leaving its registers.
// Queries, dO and their statistics arrive two steps ahead by cp.async. Where a tile has much more work than the
// others (a shared prompt, the start of a long sequence), the plan gives it to several blocks, which store partial
// sums in float32; attention_backward.cu adds those in order. No float is added atomically.
//
// Shared memory, bytes: 256 (key_dim + value_dim) + 3 stages of 64 (key_dim + value_dim) + 268: 57 KB (64), 113 KB
// (128), 141 KB (192/128).
// FLOPs: 4 (key_dim + value_dim) for each head and pair (query, key seen). T = 4096, H = 32, D = 128: 275 GFLOP a
// sequence: 0.28 ms at the 989 TFLOP/s of an H100; 0.46 ms at what mma.sync reaches at best (estimated).
#include "kernels/attention/flash_tile.h"
#include "kernels/attention/packed_backward.h"
#include "kernels/attention/packed_tiles.h"
#include "kernels/device/launch.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kKeys = static_cast<int>(kTileRows), kQueries = static_cast<int>(kStepRows), kStages = 3;

// What a step's queries need beside q and dO; in shared memory, one for each stage.
struct StepStats {
  float lse[kQueries], delta[kQueries];
  int query, key_begin, key_end;
};

template <int kQk, int kV>
constexpr size_t shared_bytes() {
  return (kKeys + kStages * kQueries) * (kQk + kV) * sizeof(Bf16) + kStages * sizeof(StepStats);
}

// Goes through the steps of a key tile. Holds little: a viewer is read again where one ends.
struct Walk {
  int head, viewer;  // of the group; among all viewers
  int query, end;    // the step's first row, and the viewer's end

  __device__ void begin(const PackedKeyTile& tile, const PackedViewer* viewers, int step) {
    head = step / tile.num_steps;
    viewer = tile.first_viewer;
    int left = step % tile.num_steps;
    while (true) {
      enter(viewers);
      const int steps = (end - query + kQueries - 1) / kQueries;
      if (left < steps) break;
      left -= steps;
      ++viewer;
    }
    query += left * kQueries;
  }
  __device__ void next(const PackedKeyTile& tile, const PackedViewer* viewers) {
    query += kQueries;
    if (query < end) return;
    if (++viewer == tile.first_viewer + tile.num_viewers) {
      viewer = tile.first_viewer;
      ++head;
    }
    enter(viewers);
  }
  __device__ void enter(const PackedViewer* viewers) {
    query = viewers[viewer].query_begin;
    end = viewers[viewer].query_end;
  }
};

// Stores the sums. What it needs of the plan is read again, so that no register holds it through the loop.
template <int kQk, int kV, int M>
__forceinline__ __device__ void finish(const PackedGradArguments& a, float (&dk)[M][kQk / 8][4],
                                       const float (&dv)[M][kV / 8][4], Bf16* k_rows, Bf16* v_rows, int first_row) {
  const int block = static_cast<int>(blockIdx.x), kv_head = block % a.num_kv_heads;
  const PackedKeyItem item = a.items[block / a.num_kv_heads];
  if (item.slot >= 0) {
    const int64_t index = static_cast<int64_t>(item.slot) * a.num_kv_heads + kv_head;
    float* to = a.partial + (index * kKeys + first_row) * (kQk + kV);
    store_floats<kQk>(dk, to, kQk + kV);
    store_floats<kV>(dv, to + kQk, kQk + kV);
    return;
  }
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int j = 0; j < kQk / 8; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) dk[i][j][r] *= a.scale;
    }
  }
  const PackedKeyTile tile = a.key_tiles[item.key_tile];
  const int64_t row = tile.first_row + first_row;
  store_rows<kQk>(dk, k_rows, a.dk.data + kv_head * a.dk.head_stride + row * a.dk.row_stride, a.dk.row_stride,
                  tile.num_rows - first_row);
  store_rows<kV>(dv, v_rows, a.dv.data + kv_head * a.dv.head_stride + row * a.dv.row_stride, a.dv.row_stride,
                 tile.num_rows - first_row);
}

template <int kQk, int kV, int kWarps>
__global__ void __launch_bounds__(kWarps * 32) key_grad_kernel(PackedGradArguments a) {
  constexpr int kThreads = kWarps * 32, M = kKeys / kWarps / 16, kStage = kQueries * (kQk + kV);
  R1_DYNAMIC_SHARED(bytes);
  auto* k_tile = reinterpret_cast<Bf16*>(bytes);
  Bf16 *v_tile = k_tile + kKeys * kQk, *stages = v_tile + kKeys * kV;  // a stage: queries, then dO
  auto* stats = reinterpret_cast<StepStats*>(stages + kStages * kStage);
  const int block = static_cast<int>(blockIdx.x), kv_head = block % a.num_kv_heads;
  const PackedKeyItem item = a.items[block / a.num_kv_heads];
  const PackedKeyTile tile = a.key_tiles[item.key_tile];
  const auto key_of = [&](int r) { return r < tile.num_rows ? tile.first_row + r : -1; };
  TileRows<kQk>::template load<kKeys, kThreads>(k_tile, a.k.data + kv_head * a.k.head_stride, a.k.row_stride, key_of);
  TileRows<kV>::template load<kKeys, kThreads>(v_tile, a.v.data + kv_head * a.v.head_stride, a.v.row_stride, key_of);

  Walk walk;
  walk.begin(tile, a.viewers, item.step_begin);
  const auto load_step = [&](int stage) {
    const int head = computed_here(kv_head * a.group + walk.head), query = walk.query, end = walk.end;
    const auto query_of = [&](int r) { return query + r < end ? query + r : -1; };
    Bf16* to = stages + stage * kStage;
    TileRows<kQk>::template load<kQueries, kThreads>(to, a.q.data + head * a.q.head_stride, a.q.row_stride, query_of);
    TileRows<kV>::template load<kQueries, kThreads>(to + kQueries * kQk, a.dout.data + head * a.dout.head_stride,
                                                    a.dout.row_stride, query_of);
    const int thread = static_cast<int>(threadIdx.x), at = thread % kQueries;
    if (thread < 2 * kQueries) {
      // Queries behind the last one: zeros everywhere, so that their dO and dS are 0.
      const bool valid = query + at < end;
      const float* from = (thread < kQueries ? a.lse : a.delta) + head * a.num_rows + (valid ? query + at : tile.first_row);
      cp_async_4(thread < kQueries ? &stats[stage].lse[at] : &stats[stage].delta[at], from, valid);
    }
    if (thread == 0) {
      stats[stage].query = query;
      stats[stage].key_begin = a.viewers[walk.viewer].key_begin;
      stats[stage].key_end = a.viewers[walk.viewer].key_end;
    }
    walk.next(a.key_tiles[item.key_tile], a.viewers);
  };
  int left = item.step_end - item.step_begin;  // steps that are not yet on their way
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (left > 0) load_step(s);
    --left;
    cp_async_commit();
  }

  const int first_row = warp_id() * M * 16, lane = lane_id();
  const auto keys = Lanes<kQk>::of(k_tile + first_row * kQk);
  const auto values = lanes_behind<kV>(keys, v_tile + first_row * kV, k_tile + first_row * kQk);
  const auto queries = Lanes<kQk>::of(stages);
  const auto douts = lanes_behind<kV>(queries, stages + kQueries * kQk, stages);
  const float scale_log2 = a.scale * kLog2E;
  float dk[M][kQk / 8][4], dv[M][kV / 8][4];
  clear(dk);
  clear(dv);
  int stage = 0;
  for (; left > 1 - kStages; --left) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // this step is there for all, and all are done with the stage that is filled next
    if (left > 0) load_step(stage == 0 ? kStages - 1 : stage - 1);
    cp_async_commit();
    const int behind = stage * kStage * static_cast<int>(sizeof(Bf16));
    const StepStats& now = stats[stage];
    float weights[M][kQueries / 8][4];
    clear(weights);
    multiply_rows(weights, keys, queries.behind(behind));
    const bool all = now.query >= tile.first_row + tile.num_rows - 1 && now.key_begin <= tile.first_row &&
                     now.key_end >= tile.first_row + tile.num_rows;
    const int first_key = tile.first_row + first_row + lane / 4, first_query = now.query + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kQueries / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float log_sum = now.lse[j * 8 + lane % 4 * 2 + e] * kLog2E;
#pragma unroll
        for (int i = 0; i < M; ++i) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            float& weight = weights[i][j][2 * h + e];
            weight = exp2_fast(fmaf(weight, scale_log2, -log_sum));
            const int key = first_key + i * 16 + h * 8;
            if (!all && (key > first_query + j * 8 + e || key < now.key_begin || key >= now.key_end)) weight = 0;
          }
        }
      }
    }
    uint32_t operand[M][kQueries / 16][4];
    as_operand(weights, operand);
    multiply_columns(dv, operand, douts.behind(behind));
    float grads[M][kQueries / 8][4];
    clear(grads);
    multiply_rows(grads, values, douts.behind(behind));
#pragma unroll
    for (int j = 0; j < kQueries / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float delta = now.delta[j * 8 + lane % 4 * 2 + e];
#pragma unroll
        for (int i = 0; i < M; ++i) {
#pragma unroll
          for (int h = 0; h < 2; ++h) grads[i][j][2 * h + e] = weights[i][j][2 * h + e] * (grads[i][j][2 * h + e] - delta);
        }
      }
    }
    as_operand(grads, operand);
    multiply_columns(dk, operand, queries.behind(behind));
    stage = stage == kStages - 1 ? 0 : stage + 1;
  }
  cp_async_wait<0>();
  // Keys and values of this warp have been read by it alone: their place is free.
  finish<kQk, kV>(a, dk, dv, k_tile + first_row * kQk, v_tile + first_row * kV, first_row);
}

template <int kQk, int kV, int kWarps>
void start(const PackedGradArguments& a, int64_t blocks, cudaStream_t stream) {
  launch({.name = "attention_packed_backward",
          .blocks = blocks,
          .threads = kWarps * 32,
          .shared_bytes = shared_bytes<kQk, kV>(),
          .stream = stream},
         key_grad_kernel<kQk, kV, kWarps>, a);
}

}  // namespace

void start_key_gradients(const PackedGradArguments& a, int64_t num_key_items, cudaStream_t stream) {
  const int64_t blocks = num_key_items * a.num_kv_heads;
  if (a.key_dim == 64) return start<64, 64, 4>(a, blocks, stream);
  if (a.key_dim == 128) return start<128, 128, 8>(a, blocks, stream);
  start<192, 128, 8>(a, blocks, stream);
}

}  // namespace r1::kernels::cuda
