#pragma once
// One call of the inner product; shared by gemm.cpp and the files compiled per instruction set.
#include <stdint.h>

namespace r1::kernels {

/// c[r, 16 p + lane] (+)= sum_k a(r, k) * panel_p[16 k + lane], one chain over ascending k. A right operand that lies in
/// several places comes as `blocks` of K rows each, block after block.
struct TileProduct {
  int rows = 0;  ///< 1..tile_rows()
  int64_t K = 0;
  const float* a = nullptr;  ///< element (r, k) at r * row_stride + k * col_stride; one of the strides is 1
  int64_t row_stride = 1, col_stride = 1;
  const float* const* panels = nullptr;  ///< [blocks][num_panels]
  int num_panels = 0;
  int last_columns = 16;  ///< 1..16, that the last panel keeps
  float* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;
  int64_t blocks = 1;
};

}  // namespace r1::kernels
