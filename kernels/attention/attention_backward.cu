// The backward pass of packed attention: delta, then dq (attention_query_grad.cu), then dk and dv
// (attention_key_grad.cu), then the partial sums of tiles that several blocks shared.
//
// delta[h,n] = sum_d dO[n,h,d] O[n,h,d]: value_dim / 8 lanes a row, 16 bytes each. Memory-bound: 4 H value_dim + 4 H
// bytes a row; N = 16,384, H = 32, D = 128: 270 MB, 80 us at 3.35 TB/s (estimated).
// The sum over a tile's slots: 4 (key_dim + value_dim) bytes a key and slot, ascending slots.
#include "kernels/attention/packed_backward.h"
#include "kernels/attention/packed_checks.h"
#include "kernels/attention/packed_tiles.h"
#include "kernels/device/launch.h"
#include "kernels/device/reduce.h"
#include "kernels/device/vector.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kThreads = 128, kSumRows = 16;

__global__ void __launch_bounds__(kThreads) delta_kernel(PackedGradArguments a) {
  const int block = static_cast<int>(blockIdx.x), head = block % a.num_heads;
  const PackedQueryTile tile = a.query_tiles[block / a.num_heads];
  const int lanes = a.value_dim / 8, thread = static_cast<int>(threadIdx.x);  // 8 or 16 a row
  for (int first = 0; first < tile.num_rows; first += kThreads / lanes) {
    const int r = first + thread / lanes, at = thread % lanes * 8;
    const int64_t row = tile.first_row + r;
    float sum = 0;
    if (r < tile.num_rows) {
      const auto out = load_pack(a.out.data + row * a.out.row_stride + head * a.out.head_stride + at);
      const auto dout = load_pack(a.dout.data + row * a.dout.row_stride + head * a.dout.head_stride + at);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum = fmaf(to_float(out.v[i]), to_float(dout.v[i]), sum);
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(kFullWarp, sum, offset);
    if (at == 0 && r < tile.num_rows) a.delta[head * a.num_rows + row] = sum;
  }
}

// A block sums kSumRows keys of one split tile and key head.
__global__ void __launch_bounds__(kThreads) sum_slots_kernel(PackedGradArguments a) {
  constexpr int kParts = static_cast<int>(kTileRows) / kSumRows;
  const int block = static_cast<int>(blockIdx.x), first = block % kParts * kSumRows;
  const int kv_head = block / kParts % a.num_kv_heads;
  const PackedSplit split = a.splits[block / kParts / a.num_kv_heads];
  const PackedKeyTile tile = a.key_tiles[split.key_tile];
  const int width = a.key_dim + a.value_dim, packs = width / 8;
  for (int item = static_cast<int>(threadIdx.x); item < kSumRows * packs; item += kThreads) {
    const int r = first + item / packs, at = item % packs * 8;
    if (r >= tile.num_rows) continue;
    float sums[8] = {};
    for (int slot = 0; slot < split.num_slots; ++slot) {
      const int64_t index = static_cast<int64_t>(split.first_slot + slot) * a.num_kv_heads + kv_head;
      const float* from = a.partial + (index * kTileRows + r) * width + at;
      const auto low = load_pack(from), high = load_pack(from + 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums[i] += low.v[i];
        sums[i + 4] += high.v[i];
      }
    }
    const bool of_key = at < a.key_dim;
    Pack<Bf16> pack;
#pragma unroll
    for (int i = 0; i < 8; ++i) pack.v[i] = from_float<Bf16>(of_key ? sums[i] * a.scale : sums[i]);
    const HeadRows<Bf16>& to = of_key ? a.dk : a.dv;
    store_pack(to.data + (tile.first_row + r) * to.row_stride + kv_head * to.head_stride + (of_key ? at : at - a.key_dim),
               pack);
  }
}

}  // namespace

void attention_packed_backward(const PackedAttentionShape& shape, const PackedPlan& plan, const int32_t* words,
                               HeadRows<const Bf16> q, HeadRows<const Bf16> k, HeadRows<const Bf16> v,
                               HeadRows<const Bf16> out, const float* lse, HeadRows<const Bf16> dout, HeadRows<Bf16> dq,
                               HeadRows<Bf16> dk, HeadRows<Bf16> dv, float* delta, float* partial, cudaStream_t stream) {
  constexpr const char* kName = "attention_packed_backward";
  check_packed(kName, shape, plan);
  check_rows(kName, "q", q);
  check_rows(kName, "k", k);
  check_rows(kName, "v", v);
  check_rows(kName, "out", out);
  check_rows(kName, "dout", dout);
  check_rows(kName, "dq", dq);
  check_rows(kName, "dk", dk);
  check_rows(kName, "dv", dv);
  if (plan.num_query_tiles == 0) return;
  const PackedGradArguments a{q,
                              k,
                              v,
                              out,
                              dout,
                              dq,
                              dk,
                              dv,
                              lse,
                              delta,
                              partial,
                              reinterpret_cast<const PackedQueryTile*>(words + plan.query_tiles),
                              reinterpret_cast<const PackedKeyTile*>(words + plan.key_tiles),
                              reinterpret_cast<const PackedViewer*>(words + plan.viewers),
                              reinterpret_cast<const PackedKeyItem*>(words + plan.key_items),
                              reinterpret_cast<const PackedSplit*>(words + plan.splits),
                              plan.num_rows,
                              static_cast<int>(shape.num_heads),
                              static_cast<int>(shape.num_kv_heads),
                              static_cast<int>(shape.num_heads / shape.num_kv_heads),
                              static_cast<int>(shape.key_dim),
                              static_cast<int>(shape.value_dim),
                              shape.scale};
  launch({.name = kName, .blocks = plan.num_query_tiles * shape.num_heads, .threads = kThreads, .stream = stream},
         delta_kernel, a);
  start_query_gradients(a, plan.num_query_tiles, stream);
  start_key_gradients(a, plan.num_key_items, stream);
  if (plan.num_splits == 0) return;
  launch({.name = kName,
          .blocks = plan.num_splits * shape.num_kv_heads * (kTileRows / kSumRows),
          .threads = kThreads,
          .stream = stream},
         sum_slots_kernel, a);
}

}  // namespace r1::kernels::cuda
