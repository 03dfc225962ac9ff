#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/isa.h"
#include "kernels/gemm/tile_product.h"
#include "kernels/parallel.h"

namespace r1::kernels {

#define R1_DECLARE(isa)                                                                                        \
  namespace isa {                                                                                              \
  void multiply_tile(const TileProduct& product);                                                              \
  void pack_rows(int rows, int64_t K, const float* a, int64_t row_stride, int64_t col_stride, float* out);     \
  void pack_panel(int columns, int64_t K, const float* b, int64_t row_stride, int64_t col_stride, float* out); \
  int tile_rows();                                                                                             \
  }
R1_DECLARE(avx2)
R1_DECLARE(avx512)
#undef R1_DECLARE

namespace {

constexpr int64_t kBlockRows = 960;     // rows of a packed at once: with K = 576, 2.2 MB
constexpr int kPanelsPerTask = 2;       // 32 columns: the panels of a task stay in the second-level cache
constexpr int kPanelsPerStream = 8;     // decoding: one task streams 128 columns

// Row groups of nearly equal size, so that no tile is left with one row.
struct Groups {
  int64_t count, M;
  Groups(int64_t M_, int64_t largest) : count((M_ + largest - 1) / largest), M(M_) {}
  int64_t begin(int64_t g) const { return M * g / count; }
  int rows(int64_t g) const { return static_cast<int>(begin(g + 1) - begin(g)); }
};

// The tile reads rows of consecutive k in place, unless a stride of whole 4 KiB sends all rows of a tile to the same few
// lines of the first-level cache.
bool readable_as_it_lies(MatrixView a) { return a.col_stride == 1 && a.row_stride % 1024 != 0; }

int last_columns_of(int64_t N, int64_t first_panel, int num_panels) {
  return static_cast<int>(std::min<int64_t>(16, N - (first_panel + num_panels - 1) * 16));
}

template <typename Fn>
void for_each(int64_t num_tasks, bool in_parallel, const Fn& fn) {
  if (in_parallel) return parallel_for(num_tasks, fn);
  for (int64_t i = 0; i < num_tasks; ++i) fn(i);
}

// One block of rows against panels that `panel(p, slot)` yields.
template <typename PanelFn>
void multiply_block(const Groups& groups, int64_t N, int64_t K, MatrixView a, float* c, int64_t ldc, bool accumulate,
                    int panels_per_task, const PanelFn& panels_of) {
  thread_local Scratch packed_rows;
  const bool as_it_lies = readable_as_it_lies(a);
  float* a_packed = as_it_lies ? nullptr : packed_rows.reserve(groups.M * K);
  // Four groups at a time, sixty-four k at a time: a cache line of a transposed operand is read once.
  const auto pack_groups = [&](int64_t t) {
    const int64_t first = 4 * t, last = std::min(groups.count, first + 4);
    for (int64_t k = 0; k < K; k += 64) {
      for (int64_t g = first; g < last; ++g) {
        R1_CPU_CALL(pack_rows, groups.rows(g), std::min<int64_t>(64, K - k),
                    a.data + groups.begin(g) * a.row_stride + k * a.col_stride, a.row_stride, a.col_stride,
                    a_packed + groups.begin(g) * K + k * groups.rows(g));
      }
    }
  };
  if (!as_it_lies) for_each((groups.count + 3) / 4, groups.M * K > 32768, pack_groups);
  const int64_t num_panels = (N + 15) / 16;
  const int64_t num_tasks = (num_panels + panels_per_task - 1) / panels_per_task;
  const auto task = [&](int64_t t) {
    const int64_t p0 = t * panels_per_task;
    const int n = static_cast<int>(std::min<int64_t>(panels_per_task, num_panels - p0));
    const float* panels[kPanelsPerStream];
    panels_of(p0, n, panels);
    TileProduct product{.K = K,
                        .row_stride = as_it_lies ? a.row_stride : 1,
                        .panels = panels,
                        .num_panels = n,
                        .last_columns = last_columns_of(N, p0, n),
                        .ldc = ldc,
                        .accumulate = accumulate};
    for (int64_t g = 0; g < groups.count; ++g) {
      product.rows = groups.rows(g);
      product.a = as_it_lies ? a.data + groups.begin(g) * a.row_stride : a_packed + groups.begin(g) * K;
      product.col_stride = as_it_lies ? 1 : product.rows;
      product.c = c + groups.begin(g) * ldc + p0 * 16;
      R1_CPU_CALL(multiply_tile, product);
    }
  };
  for_each(num_tasks, groups.M * N * K >= 100'000, task);  // a parallel region costs as much as so small a product
}

}  // namespace

void gemm(int64_t M, int64_t N, int64_t K, MatrixView a, MatrixView b, float* c, int64_t ldc, bool accumulate) {
  if (M == 0 || N == 0) return;
  const int64_t largest = R1_CPU_CALL(tile_rows);
  const auto pack = [&](int64_t p0, int n, const float** panels) {
    float* buffer = thread_scratch(0, n * K * 16);
    for (int i = 0; i < n; ++i) {
      const int64_t column = (p0 + i) * 16;
      R1_CPU_CALL(pack_panel, static_cast<int>(std::min<int64_t>(16, N - column)), K, b.data + column * b.col_stride,
                  b.row_stride, b.col_stride, buffer + i * K * 16);
      panels[i] = buffer + i * K * 16;
    }
  };
  const Groups blocks(M, kBlockRows);
  for (int64_t i = 0; i < blocks.count; ++i) {
    const MatrixView rows{a.data + blocks.begin(i) * a.row_stride, a.row_stride, a.col_stride};
    multiply_block(Groups(blocks.rows(i), largest), N, K, rows, c + blocks.begin(i) * ldc, ldc, accumulate,
                   kPanelsPerTask, pack);
  }
}

void PackedMatrix::pack(int64_t K, int64_t N, MatrixView b) {
  K_ = K;
  N_ = N;
  const int64_t num_panels = (N + 15) / 16;
  float* out = buffer_.reserve(num_panels * K * 16);
  parallel_for(num_panels, [&](int64_t p) {
    R1_CPU_CALL(pack_panel, static_cast<int>(std::min<int64_t>(16, N - p * 16)), K, b.data + p * 16 * b.col_stride,
                b.row_stride, b.col_stride, out + p * K * 16);
  });
}

void gemm_packed(int64_t M, MatrixView a, const PackedMatrix& b, float* c, int64_t ldc, bool accumulate) {
  if (M == 0 || b.columns() == 0) return;
  const int64_t largest = R1_CPU_CALL(tile_rows);
  const auto stored = [&](int64_t p0, int n, const float** panels) {
    for (int i = 0; i < n; ++i) panels[i] = b.panel(p0 + i);
  };
  const Groups blocks(M, kBlockRows);
  for (int64_t i = 0; i < blocks.count; ++i) {
    const MatrixView rows{a.data + blocks.begin(i) * a.row_stride, a.row_stride, a.col_stride};
    multiply_block(Groups(blocks.rows(i), largest), b.columns(), b.rows(), rows, c + blocks.begin(i) * ldc, ldc,
                   accumulate, M <= 16 ? kPanelsPerStream : kPanelsPerTask, stored);
  }
}

void gemm_reference(int64_t M, int64_t N, int64_t K, MatrixView a, MatrixView b, float* c, int64_t ldc,
                    bool accumulate) {
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) {
      float sum = accumulate ? c[m * ldc + n] : 0.0f;
      for (int64_t k = 0; k < K; ++k) {
        sum = std::fma(a.data[m * a.row_stride + k * a.col_stride], b.data[k * b.row_stride + n * b.col_stride], sum);
      }
      c[m * ldc + n] = sum;
    }
  }
}

}  // namespace r1::kernels
