// Products of ragged groups of rows, interfaces at grouped_gemm_cuda.h: for rows m of expert e
//   y[m] = W_e x[m],  dx[m] = W_e^T dy[m],  dW_e = sum_m dy[m] x[m]^T,  h[m] = silu(gate) up, [gate | up] = W_e x[m]
// x [M, I], y [M, O], W [E, O, I] bf16.
//
// A tile (kernels/device/gemm_tile.h) is 128 columns and 16, 64 or 128 rows of one expert, by the mean number
// of rows; the choice changes no bit. As many blocks as fit the card walk over (expert, column tile, row tile),
// row tiles fastest, so that the blocks that share a piece of a weight run at the same time and it is read from
// memory once. Where an expert's tiles begin is a prefix sum over E that each block makes at its start.
// grouped_swiglu interleaves 16 rows of gate with 16 of up in a warp's 32 columns: a thread then holds both
// numbers of an element. It takes its rows from x by a list, so that decoding has no pass to gather them.
// grouped_outer has a block per 128 x 128 tile of a weight's gradient.
//
// FLOPs 2 M I O a product. Bytes: the weights of the experts that have rows, 2 I O each, and 2 M (I + O).
// Decoding, few rows to an expert: bound by memory; E = 256, C = 7168, F = 2048, all experts met: 15.0 GB for
// gate and up, 4.5 ms at 3.35 TB/s, and half of it for down (estimated). Training, M / E large: bound by
// mma.sync, about 60 % of what at::_grouped_mm reaches with wgmma on a Hopper GPU (estimated), where
// src/ops/expert_products.cpp therefore calls that one; sm_80 has no other that does not wait for the host.
#include "kernels/device/gemm_tile.h"
#include "kernels/device/launch.h"
#include "kernels/device/reduce.h"
#include "kernels/grouped_gemm/grouped_gemm_cuda.h"

namespace r1::kernels::cuda {
namespace {

using namespace device;

constexpr int kMaxExperts = 512;

// Rows of a tile: 16 to stream weights, 64, 128.
using StreamTile = GemmTileOf<16, 16, 4>;
using MiddleTile = GemmTileOf<64, 32, 3>;
using LargeTile = GemmTileOf<128, 64, 4>;
// Blocks that a multiprocessor holds by its shared memory (164 KB on sm_80); it bounds their registers.
template <class Tile>
constexpr int kBlocks = Tile::kRows < 128 ? 2 : 1;

// first[e]: row tiles of the experts before e. Ends with a barrier.
template <int kTileRows, int kThreads>
__device__ void count_row_tiles(int E, const int32_t* offsets, int* first) {
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kThreads)
    first[e + 1] = (offsets[e + 1] - offsets[e] + kTileRows - 1) / kTileRows;
  if (threadIdx.x == 0) first[0] = 0;
  __syncthreads();
  if (warp_id() == 0) {
    int before = 0;
    for (int e = lane_id(); e - lane_id() < E; e += 32) {
      const int sum = before + warp_scan(e < E ? first[e + 1] : 0);
      if (e < E) first[e + 1] = sum;
      before = __shfl_sync(kFullWarp, sum, 31);
    }
  }
  __syncthreads();
}

// What a block does next: `rows` rows from `begin` on of expert e, and a tile of columns.
struct Work {
  int e;
  int64_t begin;
  int rows;
  int64_t column_tile;
};

template <int kTileRows>
__device__ Work work_at(int64_t tile, int E, int64_t column_tiles, const int32_t* offsets, const int* first) {
  const int64_t row_tile = tile / column_tiles;  // among those of all experts, were columns the slower index
  int e = 0;
  for (int above = E; above - e > 1;) {
    const int middle = (e + above) / 2;
    if (first[middle] <= row_tile) {
      e = middle;
    } else {
      above = middle;
    }
  }
  const int64_t within = tile - first[e] * column_tiles, row_tiles = first[e + 1] - first[e];
  const int64_t begin = offsets[e] + within % row_tiles * kTileRows;
  return {e, begin, static_cast<int>(offsets[e + 1] - begin), within / row_tiles};
}

// Rows of x by a list that lies in shared memory.
struct ListedRows {
  static constexpr bool kAlongK = true;
  const Bf16* data;
  const int* list;
  int count, stride;
  __device__ bool inside(int r) const { return r < count; }
  __device__ const Bf16* at(int r, int k) const { return data + static_cast<int64_t>(list[r]) * stride + k; }
};

// Rows of gate and of up: 32 columns of a tile are 16 of gate and the same 16 of up, `half` elements further.
struct GateUpRows {
  static constexpr bool kAlongK = true;
  const Bf16* data;
  int64_t half;
  int count, stride;
  static __device__ int unit(int c) { return c / 32 * 16 + c % 16; }
  __device__ bool inside(int c) const { return unit(c) < count; }
  __device__ const Bf16* at(int c, int k) const {
    return (c % 32 < 16 ? data : data + half) + (unit(c) * stride + k);
  }
};

__forceinline__ __device__ void store_pair(Bf16* p, float low, float high) {
  *reinterpret_cast<uint32_t*>(p) = pack_bf16(low, high);
}
__forceinline__ __device__ float rounded(float x) { return to_float(from_float<Bf16>(x)); }
__forceinline__ __device__ float silu(float x) { return x * (1.0f / (1.0f + exp_fast(-x))); }

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks<Tile>)
    swiglu_kernel(int E, const int32_t* offsets, int64_t C, int64_t F, const Bf16* x, const int32_t* pairs, int K,
                  const Bf16* w, Bf16* gate_up, Bf16* h) {
  R1_DYNAMIC_SHARED(bytes);
  R1_SHARED(first, int[kMaxExperts + 1]);
  R1_SHARED(tokens, int[Tile::kRows]);
  count_row_tiles<Tile::kRows, Tile::kThreads>(E, offsets, first);
  const int64_t column_tiles = (F + Tile::kColumns / 2 - 1) / (Tile::kColumns / 2), tiles = first[E] * column_tiles;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Work work = work_at<Tile::kRows>(t, E, column_tiles, offsets, first);
    const int64_t f0 = work.column_tile * (Tile::kColumns / 2);
    for (int r = static_cast<int>(threadIdx.x); r < Tile::kRows; r += Tile::kThreads)
      tokens[r] = r < work.rows ? pairs[work.begin + r] / K : 0;
    __syncthreads();
    Tile tile;
    tile.run(ListedRows{x, tokens, work.rows, static_cast<int>(C)},
             GateUpRows{w + (static_cast<int64_t>(work.e) * 2 * F + f0) * C, F * C,
                        RowOperand::tile_count(F - f0), static_cast<int>(C)},
             static_cast<int>(C), reinterpret_cast<Bf16*>(bytes));
#pragma unroll
    for (int i = 0; i < Tile::kTall; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = Tile::row(i, half);
        if (r >= work.rows) continue;
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          const int64_t f = f0 + GateUpRows::unit(Tile::column(j));
          if (f >= F) continue;
          const float *gate = &tile.sums[i][j][half * 2], *up = &tile.sums[i][j + 2][half * 2];
          const int64_t m = work.begin + r;
          if (gate_up != nullptr) {
            store_pair(gate_up + m * 2 * F + f, gate[0], gate[1]);
            store_pair(gate_up + m * 2 * F + F + f, up[0], up[1]);
          }
          store_pair(h + m * F + f, silu(rounded(gate[0])) * rounded(up[0]),
                     silu(rounded(gate[1])) * rounded(up[1]));
        }
      }
    }
  }
}

// y[m, o] = sum_k x[m, k] w[o, k], or with kTransposed w[k, o]; w of the row's expert.
template <class Tile, bool kTransposed>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks<Tile>)
    product_kernel(int E, const int32_t* offsets, int depth, int64_t width, const Bf16* x, const Bf16* w, Bf16* y) {
  R1_DYNAMIC_SHARED(bytes);
  R1_SHARED(first, int[kMaxExperts + 1]);
  count_row_tiles<Tile::kRows, Tile::kThreads>(E, offsets, first);
  const int64_t column_tiles = (width + Tile::kColumns - 1) / Tile::kColumns, tiles = first[E] * column_tiles;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const Work work = work_at<Tile::kRows>(t, E, column_tiles, offsets, first);
    const int64_t o0 = work.column_tile * Tile::kColumns;
    const Bf16* matrix = w + work.e * depth * width;
    auto* shared = reinterpret_cast<Bf16*>(bytes);
    const RowOperand rows{x + work.begin * depth, work.rows, depth};
    Tile tile;
    if constexpr (kTransposed) {
      tile.run(rows, ColumnOperand{matrix + o0, width - o0, width}, depth, shared);
    } else {
      tile.run(rows, RowOperand{matrix + o0 * depth, width - o0, depth}, depth, shared);
    }
#pragma unroll
    for (int i = 0; i < Tile::kTall; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = Tile::row(i, half);
        if (r >= work.rows) continue;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t o = o0 + Tile::column(j);
          if (o >= width) continue;
          store_pair(y + (work.begin + r) * width + o, tile.sums[i][j][half * 2], tile.sums[i][j][half * 2 + 1]);
        }
      }
    }
  }
}

__global__ void __launch_bounds__(LargeTile::kThreads, kBlocks<LargeTile>)
    outer_kernel(const int32_t* offsets, int64_t I, int64_t O, const Bf16* dy, const Bf16* x, bool accumulate,
                 Bf16* dw) {
  R1_DYNAMIC_SHARED(bytes);
  const int64_t across = (I + LargeTile::kColumns - 1) / LargeTile::kColumns,
                down = (O + LargeTile::kRows - 1) / LargeTile::kRows;
  const int64_t e = blockIdx.x / (across * down), within = blockIdx.x % (across * down);
  const int64_t o0 = within / across * LargeTile::kRows, i0 = within % across * LargeTile::kColumns;
  const int64_t begin = offsets[e], rows = offsets[e + 1] - begin;
  LargeTile tile;
  tile.run(ColumnOperand{dy + begin * O + o0, O - o0, O}, ColumnOperand{x + begin * I + i0, I - i0, I},
           static_cast<int>(rows), reinterpret_cast<Bf16*>(bytes));
#pragma unroll
  for (int i = 0; i < LargeTile::kTall; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t o = o0 + LargeTile::row(i, half);
      if (o >= O) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t c = i0 + LargeTile::column(j);
        if (c >= I) continue;
        Bf16* p = dw + (e * O + o) * I + c;
        float low = tile.sums[i][j][half * 2], high = tile.sums[i][j][half * 2 + 1];
        if (accumulate) {
          low += to_float(p[0]);
          high += to_float(p[1]);
        }
        store_pair(p, low, high);
      }
    }
  }
}

void check(const char* name, const ExpertRows& rows, int64_t a, int64_t b,
           std::initializer_list<const void*> pointers) {
  bool aligned = true;
  for (const void* p : pointers) aligned = aligned && reinterpret_cast<uintptr_t>(p) % 16 == 0;
  if (aligned && a > 0 && b > 0 && a % 8 == 0 && b % 8 == 0 && rows.E >= 1 && rows.E <= kMaxExperts && rows.M >= 0 &&
      rows.M <= 0x7FFFFFFF) {
    return;
  }
  throw std::runtime_error(std::string(name) + ": " + std::to_string(rows.M) + " rows of " + std::to_string(rows.E) +
                           " experts, widths " + std::to_string(a) + " and " + std::to_string(b) +
                           "; accepted: below 2^31 rows, 1 to 512 experts, widths that are multiples of 8, pointers "
                           "that are 16-byte aligned");
}

// The height of a tile by the mean rows of an expert.
template <class Start>
void with_tile(const ExpertRows& rows, const Start& start) {
  if (rows.M <= 16 * rows.E) return start(std::type_identity<StreamTile>{});
  if (rows.M <= 64 * rows.E) return start(std::type_identity<MiddleTile>{});
  start(std::type_identity<LargeTile>{});
}

template <class Tile>
Launch walking(const char* name, const ExpertRows& rows, int64_t column_tiles, cudaStream_t stream) {
  const int64_t most = (rows.M / Tile::kRows + std::min(rows.E, rows.M)) * column_tiles;
  return {.name = name,
          .blocks = std::min<int64_t>(most, static_cast<int64_t>(multiprocessors()) * kBlocks<Tile>),
          .threads = Tile::kThreads,
          .shared_bytes = Tile::kSharedBytes,
          .stream = stream};
}

template <bool kTransposed>
void start_product(const char* name, const ExpertRows& rows, int64_t depth, int64_t width, const Bf16* x, const Bf16* w,
                   Bf16* y, cudaStream_t stream) {
  check(name, rows, depth, width, {x, w, y});
  if (rows.M == 0) return;
  with_tile(rows, [&](auto type) {
    using Tile = typename decltype(type)::type;
    launch(walking<Tile>(name, rows, ceil_div(width, Tile::kColumns), stream), product_kernel<Tile, kTransposed>,
           rows.E, rows.offsets, depth, width, x, w, y);
  });
}

}  // namespace

void grouped_swiglu(const ExpertRows& rows, int64_t C, int64_t F, const Bf16* x, const int32_t* pairs, int64_t K,
                    const Bf16* w, Bf16* gate_up, Bf16* h, cudaStream_t stream) {
  check("grouped_swiglu", rows, C, F, {x, w, gate_up, h});
  if (rows.M == 0) return;
  with_tile(rows, [&](auto type) {
    using Tile = typename decltype(type)::type;
    launch(walking<Tile>("grouped_swiglu", rows, ceil_div(F, Tile::kColumns / 2), stream), swiglu_kernel<Tile>, rows.E,
           rows.offsets, C, F, x, pairs, K, w, gate_up, h);
  });
}

void grouped_product(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* x, const Bf16* w, Bf16* y,
                     cudaStream_t stream) {
  start_product<false>("grouped_product", rows, I, O, x, w, y, stream);
}

void grouped_product_transposed(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* dy, const Bf16* w, Bf16* dx,
                                cudaStream_t stream) {
  start_product<true>("grouped_product_transposed", rows, O, I, dy, w, dx, stream);
}

void grouped_outer(const ExpertRows& rows, int64_t I, int64_t O, const Bf16* dy, const Bf16* x, bool accumulate,
                   Bf16* dw, cudaStream_t stream) {
  check("grouped_outer", rows, I, O, {dy, x, dw});
  launch({.name = "grouped_outer",
          .blocks = rows.E * ceil_div(I, LargeTile::kColumns) * ceil_div(O, LargeTile::kRows),
          .threads = LargeTile::kThreads,
          .shared_bytes = LargeTile::kSharedBytes,
          .stream = stream},
         outer_kernel, rows.offsets, I, O, dy, x, accumulate, dw);
}

}  // namespace r1::kernels::cuda
