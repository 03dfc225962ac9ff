#pragma once
#include "kernels/device/mma.h"
#include "kernels/device/vector.h"

// Products of tiles whose results stay in a warp's registers: what the packed attention kernels are made of.
//
// A warp owns 16 M rows of the left operand. sums[i][j] is the 16 x 8 tile at rows 16 i and columns 8 j in the
// layout of mma's C: element 2 h + e is row 16 i + 8 h + lane / 4, column 8 j + 2 (lane % 4) + e.
namespace r1::kernels::device {

/// 2^x: 2 units in the last place (PTX ISA, ex2.approx); results below 2^-126 become 0.
__forceinline__ __device__ float exp2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return ::exp2f(x);
#endif
}

/// x, of which the compiler knows nothing: what follows from it is computed here, and not before a loop that then
/// holds the result in a register.
__forceinline__ __device__ int computed_here(int x) {
#if defined(__CUDACC__)
  asm volatile("" : "+r"(x));
#endif
  return x;
}

/// Two neighbours at once; p 4-byte aligned.
__forceinline__ __device__ void store_pair(Bf16* p, uint32_t pair R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  *reinterpret_cast<uint32_t*>(p) = pair;
#else
  emulator::write_vector(p, &pair, 4, site);
#endif
}

/// p 8-byte aligned.
__forceinline__ __device__ void store_pair(float* p, float first, float second R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  *reinterpret_cast<float2*>(p) = make_float2(first, second);
#else
  const float pair[2] = {first, second};
  emulator::write_vector(p, pair, 8, site);
#endif
}

/// Rows of kWidth bf16 in shared memory, kWidth a multiple of 64. 16-byte piece `at` of a row lies at
/// at ^ (row % 8), so that eight rows of one column of pieces meet all banks once.
template <int kWidth>
struct TileRows {
  static constexpr int kPieces = kWidth / 8;
  static_assert(kWidth % 64 == 0);

  static __forceinline__ __device__ Bf16* piece(Bf16* tile, int row, int at) {
    return tile + row * kWidth + (at & ~7) * 8 + ((at ^ row) & 7) * 8;
  }

  /// Starts the copy of rows row_of(0), row_of(1), ... of `data`; zeros where row_of is below 0. Eight threads
  /// a row, 128 bytes at a time.
  template <int kRows, int kThreads, class RowOf>
  static __forceinline__ __device__ void load(Bf16* tile, const Bf16* data, int64_t row_stride, RowOf row_of) {
    static_assert(kRows * 8 % kThreads == 0 && kThreads % 64 == 0);
    const int first = static_cast<int>(threadIdx.x) / 8, at = static_cast<int>(threadIdx.x) % 8;
    Bf16* to = piece(tile, first, at);  // the rows below are multiples of 8 away
#pragma unroll
    for (int i = 0; i < kRows * 8 / kThreads; ++i) {
      const int row = row_of(first + i * (kThreads / 8));
      const Bf16* from = data + (row < 0 ? 0 : row) * row_stride + at * 8;
#pragma unroll
      for (int c = 0; c < kWidth; c += 64) cp_async_16(to + i * (kThreads / 8) * kWidth + c, from + c, row >= 0);
    }
  }
};

template <int kFirst, int kSecond>
__forceinline__ __device__ void clear(float (&sums)[kFirst][kSecond][4]) {
#pragma unroll
  for (int i = 0; i < kFirst; ++i) {
#pragma unroll
    for (int j = 0; j < kSecond; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) sums[i][j][r] = 0;
    }
  }
}

/// Where a thread's ldmatrix reads a tile of kWidth: one address for each of the four places that 16 columns can
/// have in 128 bytes of a row; the rest is distances known when compiling. ldmatrix then brings a block of 16 x 16
/// as its quarters top left, bottom left, top right, bottom right.
template <int kWidth>
struct Lanes {
  SharedAddress at[4];

  /// `rows` begins at a row that is a multiple of 8.
  static __forceinline__ __device__ Lanes of(Bf16* rows) {
    Lanes lanes;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      lanes.at[k] = shared_address(TileRows<kWidth>::piece(rows, lane_id() % 16, 2 * k + lane_id() / 16));
    }
    return lanes;
  }
  /// The same of the tile that begins `bytes` further.
  __forceinline__ __device__ Lanes behind(int bytes) const {
    Lanes lanes = *this;
#pragma unroll
    for (int k = 0; k < 4; ++k) lanes.at[k].bytes += bytes;
    return lanes;
  }
  static __forceinline__ __device__ int distance(int rows, int block) { return rows * kWidth * 2 + block / 4 * 128; }
  /// The block of 16 columns `block` in the 16 rows from `row` on.
  __forceinline__ __device__ void read(uint32_t (&r)[4], int row, int block) const {
    ldmatrix(r, at[block % 4], distance(row, block));
  }
  __forceinline__ __device__ void read_transposed(uint32_t (&r)[4], int row, int block) const {
    ldmatrix_transposed(r, at[block % 4], distance(row, block));
  }
};

/// Lanes of the tile at `rows`, made from those of the tile at `first` where both are equally wide: no more registers.
template <int kWidth, int kFirstWidth>
__forceinline__ __device__ Lanes<kWidth> lanes_behind(const Lanes<kFirstWidth>& lanes, Bf16* rows, Bf16* first) {
  if constexpr (kWidth == kFirstWidth) {
    return lanes.behind(static_cast<int>(rows - first) * static_cast<int>(sizeof(Bf16)));
  } else {
    return Lanes<kWidth>::of(rows);
  }
}

/// sums += X Y^T over kWidth: 16 M rows of x and 8 kTiles rows of y.
template <int kWidth, int M, int kTiles>
__forceinline__ __device__ void multiply_rows(float (&sums)[M][kTiles][4], const Lanes<kWidth>& x,
                                              const Lanes<kWidth>& y) {
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
    uint32_t a[M][4];
#pragma unroll
    for (int i = 0; i < M; ++i) x.read(a[i], i * 16, k);
#pragma unroll
    for (int j = 0; j < kTiles / 2; ++j) {
      uint32_t b[4];
      y.read(b, j * 16, k);
      const uint32_t left[2] = {b[0], b[2]}, right[2] = {b[1], b[3]};
#pragma unroll
      for (int i = 0; i < M; ++i) {
        mma_bf16(sums[i][2 * j], a[i], left);
        mma_bf16(sums[i][2 * j + 1], a[i], right);
      }
    }
  }
}

/// Results of one product as the left operand of the next one, rounded to bf16.
template <int M, int kTiles>
__forceinline__ __device__ void as_operand(const float (&x)[M][kTiles][4], uint32_t (&a)[M][kTiles / 2][4]) {
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int k = 0; k < kTiles / 2; ++k) {
      a[i][k][0] = pack_bf16(x[i][2 * k][0], x[i][2 * k][1]);
      a[i][k][1] = pack_bf16(x[i][2 * k][2], x[i][2 * k][3]);
      a[i][k][2] = pack_bf16(x[i][2 * k + 1][0], x[i][2 * k + 1][1]);
      a[i][k][3] = pack_bf16(x[i][2 * k + 1][2], x[i][2 * k + 1][3]);
    }
  }
}

/// sums += X Y: x [16 M, 16 kSteps] as operand in registers, 16 kSteps rows of y.
template <int kWidth, int M, int kSteps>
__forceinline__ __device__ void multiply_columns(float (&sums)[M][kWidth / 8][4], const uint32_t (&x)[M][kSteps][4],
                                                 const Lanes<kWidth>& y) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int j = 0; j < kWidth / 16; ++j) {
      uint32_t b[4];
      y.read_transposed(b, k * 16, j);
      const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
      for (int i = 0; i < M; ++i) {
        mma_bf16(sums[i][2 * j], x[i][k], left);
        mma_bf16(sums[i][2 * j + 1], x[i][k], right);
      }
    }
  }
}

/// The warp's rows in float32, their width kWidth of row_stride.
template <int kWidth, int M>
__forceinline__ __device__ void store_floats(const float (&sums)[M][kWidth / 8][4], float* data, int64_t row_stride) {
  const int lane = lane_id();
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float* row = data + (i * 16 + h * 8 + lane / 4) * row_stride + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kWidth / 8; ++j) store_pair(row + j * 8, sums[i][j][2 * h], sums[i][j][2 * h + 1]);
    }
  }
}

/// Rows of the warp as bf16 to global memory, 16 bytes at a time, by way of 16 M rows of a tile that nobody else
/// uses any more. Only the first num_rows are stored.
template <int kWidth, int M>
__forceinline__ __device__ void store_rows(const float (&sums)[M][kWidth / 8][4], Bf16* tile, Bf16* data, int64_t row_stride,
                                           int num_rows) {
  const int lane = lane_id();
  __syncwarp();
#pragma unroll
  for (int i = 0; i < M; ++i) {
#pragma unroll
    for (int j = 0; j < kWidth / 8; ++j) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        store_pair(TileRows<kWidth>::piece(tile, i * 16 + h * 8 + lane / 4, j) + lane % 4 * 2,
                   pack_bf16(sums[i][j][2 * h], sums[i][j][2 * h + 1]));
      }
    }
  }
  __syncwarp();
  constexpr int kPieces = TileRows<kWidth>::kPieces;
#pragma unroll 4
  for (int i = 0; i < 16 * M * kPieces / 32; ++i) {
    const int item = i * 32 + lane, row = item / kPieces, at = item % kPieces;
    if (row < num_rows) store_pack(data + row * row_stride + at * 8, load_pack(TileRows<kWidth>::piece(tile, row, at)));
  }
}

}  // namespace r1::kernels::device
