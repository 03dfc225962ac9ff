#pragma once
#include "kernels/device/mma.h"

// A 128 x 128 tile of A B^T by tensor cores: both operands bf16 and contiguous along k, sums in float32.
//
// 256 threads, 2 x 4 warps of 64 x 32 each; k in steps of 64 through three stages of shared memory filled by
// cp.async. A row of a stage is 128 bytes; its 16-byte pieces lie at piece ^ (row % 8), so that ldmatrix
// meets no bank conflict.
namespace r1::kernels::device {

struct GemmTile {
  static constexpr int kRows = 128, kColumns = 128, kDepth = 64, kStages = 3, kThreads = 256;
  static constexpr size_t kSharedBytes = size_t{kStages} * (kRows + kColumns) * kDepth * sizeof(Bf16);

  /// Rows of an operand: row r at data + r * stride; rows from `count` on count as zeros.
  struct Operand {
    const Bf16* data;
    int64_t count;
    int64_t stride;
  };

  float sums[4][4][4];  ///< [16 rows][8 columns] tiles of the warp, in mma's layout

  /// Row of sums[i][.][2 h .. 2 h + 1] and column of sums[.][j][0] and [2] within the 128 x 128 tile.
  static __device__ int row(int i, int h) { return warp_id() / 4 * 64 + i * 16 + h * 8 + lane_id() / 4; }
  static __device__ int column(int j) { return warp_id() % 4 * 32 + j * 8 + lane_id() % 4 * 2; }

  static __device__ Bf16* piece(Bf16* stage, int row, int at) {
    return stage + row * kDepth + (at ^ (row & 7)) * 8;
  }

  static __device__ void load(Bf16* stage, const Operand& a, const Operand& b, int64_t k, int64_t K) {
#pragma unroll
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
      const int item = i * kThreads + static_cast<int>(threadIdx.x), r = item / 8, at = item % 8;
      const bool inside = k + at * 8 < K;
      cp_async_16(piece(stage, r, at), a.data + r * a.stride + k + at * 8, inside && r < a.count);
      cp_async_16(piece(stage + kRows * kDepth, r, at), b.data + r * b.stride + k + at * 8,
                  inside && r < b.count);
    }
  }

  __device__ void multiply(Bf16* stage) {
    const int lane = lane_id(), first_row = warp_id() / 4 * 64, first_column = warp_id() % 4 * 32;
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      uint32_t a[4][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        ldmatrix(a[i], piece(stage, first_row + i * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
      for (int j = 0; j < 2;
           ++j) {  // columns 16 j .. 16 j + 15: registers 0, 1 are b of the first eight, 2, 3 of the others
        ldmatrix(b[j], piece(stage + kRows * kDepth, first_column + j * 16 + lane / 16 * 8 + lane % 8,
                             2 * k + lane / 8 % 2));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const uint32_t right[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          mma_bf16(sums[i][j], a[i], right);
        }
      }
    }
  }

  /// sums = A B^T over k = 0..K - 1; K a multiple of 8, rows 16-byte aligned. `shared`: kSharedBytes, free
  /// again afterwards.
  __device__ void run(const Operand& a, const Operand& b, int64_t K, Bf16* shared) {
    constexpr int kStage = (kRows + kColumns) * kDepth;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int r = 0; r < 4; ++r) sums[i][j][r] = 0;
      }
    }
    const int steps = static_cast<int>((K + kDepth - 1) / kDepth);
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < steps) load(shared + s * kStage, a, b, static_cast<int64_t>(s) * kDepth, K);
      cp_async_commit();
    }
    for (int step = 0; step < steps; ++step) {
      cp_async_wait<kStages - 2>();
      __syncthreads();  // this step's bytes are there for all, and all are done with the stage that is filled
                        // next
      const int next = step + kStages - 1;
      if (next < steps) load(shared + next % kStages * kStage, a, b, static_cast<int64_t>(next) * kDepth, K);
      cp_async_commit();
      multiply(shared + step % kStages * kStage);
    }
    cp_async_wait<0>();
    __syncthreads();
  }
};

}  // namespace r1::kernels::device
