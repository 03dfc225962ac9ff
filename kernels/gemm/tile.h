#pragma once
// The inner product of gemm and attention, per instruction set. Include only from files compiled with R1_ISA.
#include "kernels/cpu/f32x16.h"
#include "kernels/gemm/tile_product.h"

namespace r1::kernels::R1_ISA {

#if defined(__AVX512F__)
constexpr int kTileRows = 12;  // 12 x 2 accumulators, 2 panels, 1 broadcast: 27 of 32 registers
#else
constexpr int kTileRows = 6;  // 6 x 2 half-width accumulators, 2 halves of a panel, 1 broadcast: 15 of 16
#endif
/// Panels that one pass over k serves for `rows` rows.
constexpr int panels_for(int rows) {
#if defined(__AVX512F__)
  return rows <= 4 ? 4 : 2;
#else
  return rows <= 1 ? 4 : rows <= 3 ? 2 : 1;
#endif
}

/// How the left operand lies: element (r, k) at r * stride + k, or at k * stride + r.
enum class RowOrder { kByRow, kByK };

template <int MR, int NP, RowOrder kOrder, bool kStream>
static inline void tile(const TileProduct& t, const float* const* panels, float* c, int64_t ldc) {
  F32x16 acc[MR][NP];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < NP; ++p) acc[r][p] = t.accumulate ? load(c + r * ldc + 16 * p) : zero();
  }
  const int64_t stride = kOrder == RowOrder::kByRow ? t.row_stride : t.col_stride;
  const float* a = t.a;
  for (int64_t block = 0; block < t.blocks; ++block) {
    const float* b[NP];
#pragma GCC unroll 16
    for (int p = 0; p < NP; ++p) b[p] = panels[block * t.num_panels + p];
    for (int64_t k = 0; k < t.K; ++k) {
      F32x16 bk[NP];
#pragma GCC unroll 16
      for (int p = 0; p < NP; ++p) {
        bk[p] = load(b[p] + 16 * k);
        if (kStream) _mm_prefetch(reinterpret_cast<const char*>(b[p] + 16 * k + 512), _MM_HINT_T0);
      }
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const F32x16 ar = set(kOrder == RowOrder::kByRow ? a[r * stride + k] : a[k * stride + r]);
#pragma GCC unroll 16
        for (int p = 0; p < NP; ++p) acc[r][p] = fma(ar, bk[p], acc[r][p]);
      }
    }
    a += kOrder == RowOrder::kByRow ? t.K : t.K * stride;
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < NP; ++p) store(c + r * ldc + 16 * p, acc[r][p]);
  }
}

void multiply_tile(const TileProduct& product);

/// out[k * rows + r] = a(r, k).
void pack_rows(int rows, int64_t K, const float* a, int64_t row_stride, int64_t col_stride, float* out);
/// out[k * 16 + lane] = b(k, lane) for lane < columns, else 0.
void pack_panel(int columns, int64_t K, const float* b, int64_t row_stride, int64_t col_stride, float* out);
int tile_rows();

}  // namespace r1::kernels::R1_ISA
