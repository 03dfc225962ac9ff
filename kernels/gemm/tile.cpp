// Compiled once per instruction set (kernels/CMakeLists.txt).
#include "kernels/gemm/tile.h"

namespace r1::kernels::R1_ISA {
namespace {

// Few rows against a long panel are bound by memory: the tile then asks for the panel ahead of its use.
constexpr int64_t kStreamDepth = 128;

template <int MR, int NP, RowOrder kOrder>
void run_tile(const TileProduct& t, const float* const* panels, float* c, int64_t ldc) {
  if (MR <= 4 && t.K >= kStreamDepth) {
    tile<MR, NP, kOrder, true>(t, panels, c, ldc);
  } else {
    tile<MR, NP, kOrder, false>(t, panels, c, ldc);
  }
}

// Panels p .. p + NP - 1; of the last one only its columns.
template <int MR, int NP, RowOrder kOrder>
void panels_tile(const TileProduct& t, int p) {
  float* c = t.c + 16 * p;
  const int last_columns = p + NP == t.num_panels ? t.last_columns : 16;
  if (last_columns == 16) {
    run_tile<MR, NP, kOrder>(t, t.panels + p, c, t.ldc);
    return;
  }
  float block[MR * NP * 16];
  const int columns = (NP - 1) * 16 + last_columns;
  for (int r = 0; r < MR; ++r) {
    for (int n = 0; n < NP * 16; ++n) block[r * NP * 16 + n] = t.accumulate && n < columns ? c[r * t.ldc + n] : 0.0f;
  }
  run_tile<MR, NP, kOrder>(t, t.panels + p, block, NP * 16);
  for (int r = 0; r < MR; ++r) {
    for (int n = 0; n < columns; ++n) c[r * t.ldc + n] = block[r * NP * 16 + n];
  }
}

template <int MR, RowOrder kOrder>
void rows_tile(const TileProduct& t) {
  constexpr int kWide = panels_for(MR);
  int p = 0;
  for (; p + kWide <= t.num_panels; p += kWide) panels_tile<MR, kWide, kOrder>(t, p);
  const int rest = t.num_panels - p;
  if constexpr (kWide > 3) {
    if (rest == 3) return panels_tile<MR, 3, kOrder>(t, p);
  }
  if constexpr (kWide > 2) {
    if (rest == 2) return panels_tile<MR, 2, kOrder>(t, p);
  }
  if constexpr (kWide > 1) {
    if (rest == 1) panels_tile<MR, 1, kOrder>(t, p);
  }
}

// Columns j..j+7 of eight rows at `in`, transposed to out[j * out_stride + 0..7].
inline void transpose8(const float* in, int64_t stride, float* out, int64_t out_stride) {
  __m256 r[8], t[8], u[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(in + i * stride);
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; ++i) {
    u[4 * i + 0] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
    u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
    u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
    u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(out + out_stride * i, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
    _mm256_storeu_ps(out + out_stride * (i + 4), _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
  }
}

}  // namespace

int tile_rows() { return kTileRows; }

void multiply_tile(const TileProduct& t) {
#define R1_ROWS(MR) \
  case MR:          \
    return t.col_stride == 1 ? rows_tile<MR, RowOrder::kByRow>(t) : rows_tile<MR, RowOrder::kByK>(t);
  switch (t.rows) {
    R1_ROWS(1)
    R1_ROWS(2)
    R1_ROWS(3)
    R1_ROWS(4)
    R1_ROWS(5)
    R1_ROWS(6)
#if defined(__AVX512F__)
    R1_ROWS(7)
    R1_ROWS(8)
    R1_ROWS(9)
    R1_ROWS(10)
    R1_ROWS(11)
    R1_ROWS(12)
#endif
  }
#undef R1_ROWS
}

void pack_rows(int rows, int64_t K, const float* a, int64_t row_stride, int64_t col_stride, float* out) {
  if (row_stride == 1) {
    // Up to eight rows: whole stores that run over into the place of the next k, which is written after them. AMD's CPUs take a
    // dozen cycles for a masked one.
    int64_t k = 0;
    if (rows <= 8) {
      const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
      const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(rows), lane);
      for (; k * rows + 8 <= K * rows; ++k) {
        _mm256_storeu_ps(out + k * rows, _mm256_maskload_ps(a + k * col_stride, mask));
      }
    }
    for (; k < K; ++k) store_first(out + k * rows, load_first(a + k * col_stride, rows), rows);
    return;
  }
  int64_t done = 0;
  if (col_stride == 1 && rows >= 8) {  // rows 0..7 and the last eight, which may overlap
    for (; done + 8 <= K; done += 8) {
      transpose8(a + done, row_stride, out + done * rows, rows);
      if (rows > 8) transpose8(a + (rows - 8) * row_stride + done, row_stride, out + done * rows + rows - 8, rows);
    }
  }
  // Sixteen k at a time: every row's cache line is read once.
  for (int64_t k0 = done; k0 < K; k0 += 16) {
    const int64_t end = k0 + 16 < K ? k0 + 16 : K;
    for (int r = 0; r < rows; ++r) {
      const float* row = a + r * row_stride;
      for (int64_t k = k0; k < end; ++k) out[k * rows + r] = row[k * col_stride];
    }
  }
}

void pack_panel(int columns, int64_t K, const float* b, int64_t row_stride, int64_t col_stride, float* out) {
  if (columns == 16 && col_stride == 1) {
    for (int64_t k = 0; k < K; ++k) store(out + 16 * k, load(b + k * row_stride));
    return;
  }
  int64_t k = 0;
  if (columns == 16 && row_stride == 1) {
    for (; k + 8 <= K; k += 8) {
      transpose8(b + k, col_stride, out + 16 * k, 16);
      transpose8(b + k + 8 * col_stride, col_stride, out + 16 * k + 8, 16);
    }
  }
  for (; k < K; ++k) {
    for (int n = 0; n < 16; ++n) out[16 * k + n] = n < columns ? b[k * row_stride + n * col_stride] : 0.0f;
  }
}

}  // namespace r1::kernels::R1_ISA
