// Compiled once per instruction set (kernels/CMakeLists.txt).
#include "kernels/attention/attention_isa.h"

#include "kernels/gemm/tile.h"

namespace r1::kernels::R1_ISA {
namespace {

// out[r][0..Dp) = x of row r times `scale`, zeros behind D.
void gather_rows(const AttentionTile& t, const float* x, float scale, float* out) {
  const F32x16 s = set(scale);
  for (int64_t token = 0; token < t.tokens; ++token) {
    for (int64_t h = 0; h < t.group; ++h) {
      const float* row = x + token * t.token_stride + h * t.D;
      for (int64_t d = 0; d < t.Dp; d += 16) store(out + d, mul(load_first(row + d, t.D - d), s));
      out += t.Dp;
    }
  }
}

// Rows as the tile reads them, [K][n]; a single row lies so already.
const float* in_tile_order(int n, int64_t K, const float* rows, int64_t row_stride, float* packed) {
  if (n == 1) return rows;
  pack_rows(n, K, rows, row_stride, 1, packed);
  return packed;
}

// c[R][ldc] (+)= rows_RK x panels, in groups of the tile's height.
void multiply(int64_t R, int64_t K, const float* rows, int64_t row_stride, const float* const* panels, int num_panels,
              float* packed, float* c, int64_t ldc, bool accumulate) {
  for (int64_t r = 0; r < R; r += kTileRows) {
    const int n = R - r < kTileRows ? static_cast<int>(R - r) : kTileRows;
    const float* a = in_tile_order(n, K, rows + r * row_stride, row_stride, packed);
    multiply_tile(n, K, a, n, panels, num_panels, 16, c + r * ldc, ldc, accumulate);
  }
}

// scores[r][j] = scale q_r . k_j for all stored j.
void scores_of(const AttentionTile& t, int64_t R, float* q_rows, float* packed, float* scores) {
  gather_rows(t, t.q, t.scale, q_rows);
  multiply(R, t.D, q_rows, t.Dp, t.key_panels, static_cast<int>(t.num_pages), packed, scores, t.num_pages * 16, false);
}

}  // namespace

void attention_tile(const AttentionTile& t, float* out, float* lse) {
  const int64_t R = t.tokens * t.group, S = t.num_pages * 16;
  float* scores = t.scratch;
  float* packed = scores + R * S;  // up to a tile's rows of max(S, Dp)
  float* q_rows = packed + R * S + R * t.Dp;
  float* sums = q_rows + R * t.Dp;
  scores_of(t, R, q_rows, packed, scores);

  float* total = sums + R * t.Dp;  // [R]
  for (int64_t r = 0; r < R; ++r) {
    float* row = scores + r * S;
    const int64_t valid = t.position + r / t.group + 1;
    F32x16 best = set(-__builtin_inff());
    int64_t j = 0;
    for (; j + 16 <= valid; j += 16) best = max(best, load(row + j));
    float m = max_lane(best);
    for (; j < valid; ++j) m = row[j] > m ? row[j] : m;
    const F32x16 mv = set(m);
    F32x16 acc = zero();
    for (j = 0; j < valid; j += 16) {
      const F32x16 e = keep_first(exp(sub(load(row + j), mv)), valid - j < 16 ? static_cast<int>(valid - j) : 16);
      store(row + j, e);
      acc = add(acc, e);
    }
    for (; j < S; j += 16) store(row + j, zero());
    total[r] = sum(acc);
    if (lse != nullptr) {
      lse[r / t.group * t.lse_stride + r % t.group] =
          static_cast<float>(m + __builtin_log(static_cast<double>(total[r])));
    }
  }

  const int panels = static_cast<int>(t.Dp / 16);
  for (int64_t r = 0; r < R; r += kTileRows) {
    const int n = R - r < kTileRows ? static_cast<int>(R - r) : kTileRows;
    const float* weights = in_tile_order(n, S, scores + r * S, S, packed);
    for (int64_t page = 0; page < t.num_pages; ++page) {
      multiply_tile(n, 16, weights + page * 16 * n, n, t.value_panels + page * panels, panels, 16, sums + r * t.Dp, t.Dp,
                    page > 0);
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    float* o = out + r / t.group * t.token_stride + r % t.group * t.D;
    const F32x16 l = set(total[r]);
    for (int64_t d = 0; d < t.D; d += 16) store_first(o + d, div(load(sums + r * t.Dp + d), l), t.D - d);
  }
}

void attention_grad_tile(const AttentionGradTile& g) {
  const AttentionTile& t = g.forward;
  const int64_t R = t.tokens * t.group, S = t.num_pages * 16;
  const int panels = static_cast<int>(t.Dp / 16);
  float* p = t.scratch;
  float* ds = p + R * S;
  float* packed = ds + R * S;
  float* q_rows = packed + R * S + R * t.Dp;
  float* dout_rows = q_rows + R * t.Dp;
  float* work = dout_rows + R * t.Dp;  // [R][Dp]
  float* delta = work + R * t.Dp;      // [R]

  scores_of(t, R, q_rows, packed, p);
  gather_rows(t, g.out, 1.0f, work);
  gather_rows(t, g.dout, 1.0f, dout_rows);
  for (int64_t r = 0; r < R; ++r) {
    F32x16 acc = zero();
    for (int64_t d = 0; d < t.Dp; d += 16) {
      acc = fma(load(work + r * t.Dp + d), load(dout_rows + r * t.Dp + d), acc);
    }
    delta[r] = sum(acc);
  }
  multiply(R, t.D, dout_rows, t.Dp, g.value_t_panels, static_cast<int>(t.num_pages), packed, ds, S, false);
  for (int64_t r = 0; r < R; ++r) {
    const int64_t valid = t.position + r / t.group + 1;
    const F32x16 l = set(g.lse[r / t.group * t.lse_stride + r % t.group]), dl = set(delta[r]);
    for (int64_t j = 0; j < S; j += 16) {
      const int64_t left = valid - j;
      const F32x16 e = keep_first(exp(sub(load(p + r * S + j), l)), left >= 16 ? 16 : left > 0 ? static_cast<int>(left) : 0);
      store(p + r * S + j, e);
      store(ds + r * S + j, mul(e, sub(load(ds + r * S + j), dl)));
    }
  }

  // dQ = scale dS K
  for (int64_t r = 0; r < R; r += kTileRows) {
    const int n = R - r < kTileRows ? static_cast<int>(R - r) : kTileRows;
    const float* weights = in_tile_order(n, S, ds + r * S, S, packed);
    for (int64_t page = 0; page < t.num_pages; ++page) {
      multiply_tile(n, 16, weights + page * 16 * n, n, g.key_row_panels + page * panels, panels, 16, work + r * t.Dp, t.Dp,
                    page > 0);
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    float* o = g.dq + r / t.group * t.token_stride + r % t.group * t.D;
    const F32x16 s = set(t.scale);
    for (int64_t d = 0; d < t.D; d += 16) store_first(o + d, mul(load(work + r * t.Dp + d), s), t.D - d);
  }

  // dV += P^T dO and dK += dS^T (scale Q): rows are keys, the sum runs over the query rows.
  const float* panel_list[64];
  for (int side = 0; side < 2; ++side) {
    const float* rows = side == 0 ? dout_rows : q_rows;
    const float* left = side == 0 ? p : ds;
    float* target = side == 0 ? g.dv : g.dk;
    for (int d = 0; d < panels; ++d) {
      pack_panel(16, R, rows + 16 * d, t.Dp, 1, packed + d * R * 16);
      panel_list[d] = packed + d * R * 16;
    }
    for (int64_t j = 0; j < S; j += kTileRows) {
      const int n = S - j < kTileRows ? static_cast<int>(S - j) : kTileRows;
      multiply_tile(n, R, left + j, S, panel_list, panels, 16, target + j * t.Dp, t.Dp, true);
    }
  }
}

}  // namespace r1::kernels::R1_ISA
