#pragma once
#include "kernels/device/mma.h"

// A tile of A B^T by tensor cores: both operands bf16, sums in float32, k in steps of 64 through stages of
// shared memory filled by cp.async.
//
// 128 columns in 4 warps of 32; kRows rows in warps of kWarpRows. An operand is contiguous along k (a weight
// [out, in] and its input) or along its rows (the same in a gradient); what it does per row (take it from a
// list, take it from two places) is its type's business. In a stage, 16-byte pieces lie at piece ^ (row % 8),
// so that ldmatrix meets no bank conflict. Every sum is one chain over ascending k, 16 at a time, whatever
// the tile: a row's bits are the same in each.
namespace r1::kernels::device {

/// Rows contiguous along k: row r at data + r * stride; rows from `count` on count as zeros. Offsets within a
/// tile are 32-bit, which saves registers: 128 strides stay below 2^31.
struct RowOperand {
  static constexpr bool kAlongK = true;
  const Bf16* data;
  int count, stride;
  __device__ RowOperand(const Bf16* data_, int64_t count_, int64_t stride_)
      : data(data_), count(tile_count(count_)), stride(static_cast<int>(stride_)) {}
  __device__ const Bf16* at(int r, int k) const { return data + (r * stride + k); }
  __device__ bool inside(int r) const { return r < count; }
  /// The rest of a matrix seen from a tile, which is at most 128 long.
  static __device__ int tile_count(int64_t count) { return static_cast<int>(count < 128 ? count : 128); }
};

/// Contiguous along the rows: element (r, k) at data + k * stride + r; `count` rows, a multiple of 8.
struct ColumnOperand {
  static constexpr bool kAlongK = false;
  const Bf16* data;
  int count, stride;
  __device__ ColumnOperand(const Bf16* data_, int64_t count_, int64_t stride_)
      : data(data_), count(RowOperand::tile_count(count_)), stride(static_cast<int>(stride_)) {}
  __device__ const Bf16* at(int r, int k, int line) const {
    return data + static_cast<int64_t>(k) * stride + (line * stride + r);
  }
  __device__ bool inside(int r) const { return r < count; }
};

template <int kRows_, int kWarpRows, int kStages_>
struct GemmTileOf {
  using Operand = RowOperand;
  static constexpr int kRows = kRows_, kColumns = 128, kDepth = 64, kStages = kStages_;
  static constexpr int kWarpColumns = 32, kThreads = kRows / kWarpRows * (kColumns / kWarpColumns) * 32;
  static constexpr size_t kSharedBytes = size_t{kStages} * (kRows + kColumns) * kDepth * sizeof(Bf16);
  static constexpr int kTall = kWarpRows / 16;
  static_assert(kRows % kWarpRows == 0 && kWarpRows % 16 == 0 && kRows * 8 % kThreads == 0);

  float sums[kTall][4][4];  ///< [16 rows][8 columns] tiles of the warp, in mma's layout

  /// Row of sums[i][.][2 h .. 2 h + 1] and column of sums[.][j][0] and [2] within the tile.
  static __device__ int row(int i, int h) {
    return warp_id() / 4 * kWarpRows + i * 16 + h * 8 + lane_id() / 4;
  }
  static __device__ int column(int j) {
    return warp_id() % 4 * kWarpColumns + j * 8 + lane_id() % 4 * 2;
  }

  /// Where piece `at` of a line lies: lines are rows of 64 along k, or steps of k with kWide rows each.
  template <int kWide>
  static __device__ Bf16* piece(Bf16* stage, int line, int at) {
    return stage + line * kWide + (at ^ (line & 7)) * 8;
  }

  template <int kWide, class O>
  static __forceinline__ __device__ void load_piece(Bf16* stage, const O& o, int item, int k, int K) {
    if constexpr (O::kAlongK) {
      const int r = item / 8, at = item % 8;
      cp_async_16(piece<kDepth>(stage, r, at), o.at(r, k + at * 8), k + at * 8 < K && o.inside(r));
    } else {
      static_assert(kWide >= 64, "the swizzle needs eight pieces to a line");
      const int line = item / (kWide / 8), at = item % (kWide / 8);
      cp_async_16(piece<kWide>(stage, line, at), o.at(at * 8, k, line), k + line < K && o.inside(at * 8));
    }
  }

  template <class A, class B>
  static __device__ void load(Bf16* stage, const A& a, const B& b, int k, int K) {
#pragma unroll
    for (int i = 0; i < kColumns * 8 / kThreads; ++i) {
      const int item = i * kThreads + static_cast<int>(threadIdx.x);
      if (i < kRows * 8 / kThreads) load_piece<kRows>(stage, a, item, k, K);
      load_piece<kColumns>(stage + kRows * kDepth, b, item, k, K);
    }
  }

  template <bool kAAlongK, bool kBAlongK>
  __device__ void multiply(Bf16* stage) {
    const int lane = lane_id(), first_row = warp_id() / 4 * kWarpRows,
              first_column = warp_id() % 4 * kWarpColumns;
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      uint32_t a[kTall][4], b[2][4];
#pragma unroll
      for (int i = 0; i < kTall; ++i) {
        const int r = first_row + i * 16;
        if constexpr (kAAlongK) {
          ldmatrix(a[i], piece<kDepth>(stage, r + lane % 16, 2 * k + lane / 16));
        } else {
          ldmatrix_transposed(a[i], piece<kRows>(stage, k * 16 + lane / 16 * 8 + lane % 8, r / 8 + lane / 8 % 2));
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        // columns 16 j .. 16 j + 15: registers 0, 1 are b of the first eight, 2, 3 of the others
        const int c = first_column + j * 16;
        Bf16* from = stage + kRows * kDepth;
        if constexpr (kBAlongK) {
          ldmatrix(b[j], piece<kDepth>(from, c + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
        } else {
          ldmatrix_transposed(b[j], piece<kColumns>(from, k * 16 + lane / 8 % 2 * 8 + lane % 8, c / 8 + lane / 16));
        }
      }
#pragma unroll
      for (int i = 0; i < kTall; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t right[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          mma_bf16(sums[i][j], a[i], right);
        }
      }
    }
  }

  /// sums = A B^T over k = 0..K - 1. K is a multiple of 8 if an operand is contiguous along it; lines 16-byte
  /// aligned. `shared`: kSharedBytes, free again afterwards; the call ends with a barrier.
  template <class A, class B>
  __device__ void run(const A& a, const B& b, int K, Bf16* shared) {
    constexpr int kStage = (kRows + kColumns) * kDepth;
#pragma unroll
    for (int i = 0; i < kTall; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int r = 0; r < 4; ++r) sums[i][j][r] = 0;
      }
    }
    const int steps = (K + kDepth - 1) / kDepth;
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) load(shared + s * kStage, a, b, s * kDepth, K);
      cp_async_commit();
    }
    for (int step = 0; step < steps; ++step) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // this step's bytes are there for all, and all are done with the stage filled next
      const int next = step + kStages - 1;
      if (next < steps) load(shared + next % kStages * kStage, a, b, next * kDepth, K);
      cp_async_commit();
      multiply<A::kAlongK, B::kAlongK>(shared + step % kStages * kStage);
    }
    cp_async_wait<0>();
    __syncthreads();
  }

  /// run() with both operands' rows contiguous along k.
  __device__ void run(const Operand& a, const Operand& b, int K, Bf16* shared) {
    run<Operand, Operand>(a, b, K, shared);
  }
};

/// 256 threads, 2 x 4 warps of 64 x 32 each.
using GemmTile = GemmTileOf<128, 64, 3>;

}  // namespace r1::kernels::device
