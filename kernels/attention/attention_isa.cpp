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

// c[R][ldc] = rows x panels, in groups of the tile's height; panels [blocks][num_panels] of K rows each.
void multiply(int64_t R, int64_t blocks, int64_t K, const float* rows, int64_t row_stride, const float* const* panels,
              int num_panels, float* c, int64_t ldc) {
  TileProduct product{.K = K,
                      .row_stride = row_stride,
                      .col_stride = 1,
                      .panels = panels,
                      .num_panels = num_panels,
                      .ldc = ldc,
                      .blocks = blocks};
  for (int64_t r = 0; r < R; r += kTileRows) {
    product.rows = R - r < kTileRows ? static_cast<int>(R - r) : kTileRows;
    product.a = rows + r * row_stride;
    product.c = c + r * ldc;
    multiply_tile(product);
  }
}

// scores[r][j] = scale q_r . k_j for all stored j.
void scores_of(const AttentionTile& t, int64_t R, float* q_rows, float* scores) {
  gather_rows(t, t.q, t.scale, q_rows);
  multiply(R, 1, t.D, q_rows, t.Dp, t.key_panels, static_cast<int>(t.num_pages), scores, score_stride(t.num_pages));
}

struct SoftmaxRow {
  float max, total;
};

// In place: e^(score - max) of the first `valid` scores, zeros up to S.
SoftmaxRow softmax_weights_of(float* row, int64_t valid, int64_t S) {
  F32x16 best = set(-__builtin_inff());
  int64_t j = 0;
  for (; j + 16 <= valid; j += 16) best = max(best, load(row + j));
  float m = max_lane(best);
  for (; j < valid; ++j) m = row[j] > m ? row[j] : m;
  const F32x16 mv = set(m);
  F32x16 total = zero();
  for (j = 0; j < valid; j += 16) {
    const F32x16 e = keep_first(exp(sub(load(row + j), mv)), valid - j < 16 ? static_cast<int>(valid - j) : 16);
    store(row + j, e);
    total = add(total, e);
  }
  for (; j < S; j += 16) store(row + j, zero());
  return {m, sum(total)};
}

// A decoding token has one query row per head, too short a chain to fill the pipeline: NH heads go side by side. What
// lies at the same place of the next page is asked for meanwhile.
template <int NH>
void page_scores(int64_t D, const float* q, int64_t q_stride, const float* keys, const float* next, float* scores,
                 int64_t stride) {
  F32x16 acc[NH];
#pragma GCC unroll 8
  for (int h = 0; h < NH; ++h) acc[h] = zero();
  for (int64_t d = 0; d < D; ++d) {
#pragma GCC unroll 8
    for (int h = 0; h < NH; ++h) {
      _mm_prefetch(reinterpret_cast<const char*>(next + (h * D + d) * 16), _MM_HINT_T0);
      acc[h] = fma(set(q[h * q_stride + d]), load(keys + (h * D + d) * 16), acc[h]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < NH; ++h) store(scores + h * stride, acc[h]);
}

template <int NH>
void page_values(int64_t Dp, const float* weights, int64_t stride, const float* values, const float* next, float* sums,
                 bool first) {
  for (int64_t d = 0; d < Dp; d += 16) {
    F32x16 acc[NH];
#pragma GCC unroll 8
    for (int h = 0; h < NH; ++h) acc[h] = first ? zero() : load(sums + h * Dp + d);
    for (int64_t j = 0; j < 16; ++j) {
#pragma GCC unroll 8
      for (int h = 0; h < NH; ++h) {
        const int64_t at = (h * Dp + d + j) * 16;
        _mm_prefetch(reinterpret_cast<const char*>(next + at), _MM_HINT_T0);
        acc[h] = fma(set(weights[h * stride + j]), load(values + at), acc[h]);
      }
    }
#pragma GCC unroll 8
    for (int h = 0; h < NH; ++h) store(sums + h * Dp + d, acc[h]);
  }
}

// fn<NH>(first head) over all heads, six, three or one at a time.
template <typename Fn>
void over_heads(int64_t num_heads, const Fn& fn) {
  int64_t h = 0;
  for (; h + 6 <= num_heads; h += 6) fn.template operator()<6>(h);
  for (; h + 3 <= num_heads; h += 3) fn.template operator()<3>(h);
  for (; h < num_heads; ++h) fn.template operator()<1>(h);
}

}  // namespace

void attention_token(const AttentionToken& t, float* out) {
  const int64_t H = t.num_heads, stride = score_stride(t.num_pages);
  float* scores = t.scratch;
  float* q = scores + H * stride;
  float* sums = q + H * t.Dp;
  for (int64_t h = 0; h < H; ++h) {
    for (int64_t d = 0; d < t.Dp; d += 16) store(q + h * t.Dp + d, mul(load_first(t.q + h * t.D + d, t.D - d), set(t.scale)));
  }
  for (int64_t page = 0; page < t.num_pages; ++page) {
    const float* keys = t.key_pages[page];
    const float* next = page + 1 < t.num_pages ? t.key_pages[page + 1] : t.value_pages[0];
    over_heads(H, [&]<int NH>(int64_t h) {
      const int64_t at = h * t.D * 16;
      page_scores<NH>(t.D, q + h * t.Dp, t.Dp, keys + at, next + at, scores + h * stride + page * 16, stride);
    });
  }
  float* total = sums + H * t.Dp;
  for (int64_t h = 0; h < H; ++h) total[h] = softmax_weights_of(scores + h * stride, t.position + 1, t.num_pages * 16).total;
  for (int64_t page = 0; page < t.num_pages; ++page) {
    const float* values = t.value_pages[page];
    const float* next = page + 1 < t.num_pages ? t.value_pages[page + 1] : values;
    over_heads(H, [&]<int NH>(int64_t h) {
      const int64_t at = h * t.Dp * 16;
      page_values<NH>(t.Dp, scores + h * stride + page * 16, stride, values + at, next + at, sums + h * t.Dp, page == 0);
    });
  }
  for (int64_t h = 0; h < H; ++h) {
    const F32x16 l = set(total[h]);
    for (int64_t d = 0; d < t.D; d += 16) {
      store_first(out + h * t.D + d, div(load(sums + h * t.Dp + d), l), t.D - d);
    }
  }
}

// values[d / 16][token][d % 16] = keys[d][token] for sixteen tokens, zeros behind D: four by four in registers.
void turn_keys(int64_t D, const float* keys, float* values) {
  for (int64_t d = 0; d < D; d += 4) {
    for (int64_t token = 0; token < 16; token += 4) {
      __m128 row[4];
      for (int64_t i = 0; i < 4; ++i) row[i] = d + i < D ? _mm_loadu_ps(keys + (d + i) * 16 + token) : _mm_setzero_ps();
      _MM_TRANSPOSE4_PS(row[0], row[1], row[2], row[3]);
      for (int64_t i = 0; i < 4; ++i) _mm_storeu_ps(values + d / 16 * 256 + (token + i) * 16 + d % 16, row[i]);
    }
  }
  for (int64_t d = (D + 3) / 4 * 4; d < (D + 15) / 16 * 16; ++d) {
    for (int64_t token = 0; token < 16; ++token) values[d / 16 * 256 + token * 16 + d % 16] = 0;
  }
}

void attention_tile(const AttentionTile& t, float* out, float* lse) {
  const int64_t R = t.tokens * t.group, S = t.num_pages * 16, stride = score_stride(t.num_pages);
  float* scores = t.scratch;
  float* q_rows = scores + R * stride;
  float* sums = q_rows + R * t.Dp;
  scores_of(t, R, q_rows, scores);

  float* total = sums + R * t.Dp;  // [R]
  for (int64_t r = 0; r < R; ++r) {
    const SoftmaxRow row = softmax_weights_of(scores + r * stride, t.position + r / t.group + 1, S);
    total[r] = row.total;
    if (lse != nullptr) {
      lse[r / t.group * t.lse_stride + r % t.group] =
          static_cast<float>(row.max + __builtin_log(static_cast<double>(row.total)));
    }
  }

  multiply(R, t.num_pages, 16, scores, stride, t.value_panels, static_cast<int>(t.Dp / 16), sums, t.Dp);
  for (int64_t r = 0; r < R; ++r) {
    float* o = out + r / t.group * t.token_stride + r % t.group * t.D;
    const F32x16 l = set(total[r]);
    for (int64_t d = 0; d < t.D; d += 16) store_first(o + d, div(load(sums + r * t.Dp + d), l), t.D - d);
  }
}

void attention_grad_tile(const AttentionGradTile& g) {
  const AttentionTile& t = g.forward;
  const int64_t R = t.tokens * t.group, S = t.num_pages * 16, stride = score_stride(t.num_pages);
  const int panels = static_cast<int>(t.Dp / 16);
  float* p = t.scratch;
  float* ds = p + R * stride;
  float* packed = ds + R * stride;  // [Dp / 16][R][16]
  float* q_rows = packed + R * t.Dp;
  float* dout_rows = q_rows + R * t.Dp;
  float* work = dout_rows + R * t.Dp;  // [R][Dp]
  float* delta = work + R * t.Dp;      // [R]

  scores_of(t, R, q_rows, p);
  gather_rows(t, g.out, 1.0f, work);
  gather_rows(t, g.dout, 1.0f, dout_rows);
  for (int64_t r = 0; r < R; ++r) {
    F32x16 acc = zero();
    for (int64_t d = 0; d < t.Dp; d += 16) {
      acc = fma(load(work + r * t.Dp + d), load(dout_rows + r * t.Dp + d), acc);
    }
    delta[r] = sum(acc);
  }
  multiply(R, 1, t.D, dout_rows, t.Dp, g.value_t_panels, static_cast<int>(t.num_pages), ds, stride);
  for (int64_t r = 0; r < R; ++r) {
    const int64_t valid = t.position + r / t.group + 1;
    const F32x16 l = set(g.lse[r / t.group * t.lse_stride + r % t.group]), dl = set(delta[r]);
    for (int64_t j = 0; j < S; j += 16) {
      const int64_t left = valid - j;
      const F32x16 e = keep_first(exp(sub(load(p + r * stride + j), l)), left >= 16 ? 16 : left > 0 ? static_cast<int>(left) : 0);
      store(p + r * stride + j, e);
      store(ds + r * stride + j, mul(e, sub(load(ds + r * stride + j), dl)));
    }
  }

  // dQ = scale dS K
  multiply(R, t.num_pages, 16, ds, stride, g.key_row_panels, panels, work, t.Dp);
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
    TileProduct product{.K = R,
                        .row_stride = 1,
                        .col_stride = stride,
                        .panels = panel_list,
                        .num_panels = panels,
                        .ldc = t.Dp,
                        .accumulate = true};
    for (int64_t j = 0; j < S; j += kTileRows) {
      product.rows = S - j < kTileRows ? static_cast<int>(S - j) : kTileRows;
      product.a = left + j;
      product.c = target + j * t.Dp;
      multiply_tile(product);
    }
  }
}

}  // namespace r1::kernels::R1_ISA
