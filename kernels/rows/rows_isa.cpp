// Compiled once per instruction set (kernels/CMakeLists.txt). Serial functions over a few rows; rows.cpp spreads them.
#include "kernels/cpu/f32x16.h"

namespace r1::kernels::R1_ISA {

void rms_norm_rows(int64_t N, int64_t C, const float* x, const float* w, float eps, float* y, float* rstd) {
  for (int64_t n = 0; n < N; ++n, x += C, y += C) {
    F32x16 squares = zero();
    int64_t c = 0;
    for (; c + 16 <= C; c += 16) {
      const F32x16 v = load(x + c);
      squares = fma(v, v, squares);
    }
    if (c < C) {
      const F32x16 v = load_first(x + c, C - c);
      squares = fma(v, v, squares);
    }
    const float mean = sum(squares) / static_cast<float>(C);
    const float r = 1.0f / __builtin_sqrtf(mean + eps);
    if (rstd != nullptr) rstd[n] = r;
    const F32x16 rv = set(r);
    for (c = 0; c + 16 <= C; c += 16) store(y + c, mul(mul(load(x + c), rv), load(w + c)));
    if (c < C) store_first(y + c, mul(mul(load_first(x + c, C - c), rv), load_first(w + c, C - c)), C - c);
  }
}

// dw is added to.
void rms_norm_backward_rows(int64_t N, int64_t C, const float* x, const float* w, const float* rstd, const float* dy,
                            float* dx, float* dw) {
  for (int64_t n = 0; n < N; ++n, x += C, dy += C, dx += C) {
    F32x16 dot = zero();
    for (int64_t c = 0; c < C; c += 16) {
      dot = fma(mul(load_first(dy + c, C - c), load_first(w + c, C - c)), load_first(x + c, C - c), dot);
    }
    const float r = rstd[n];
    const F32x16 rv = set(r), k = set(sum(dot) / static_cast<float>(C) * r * r * r);
    for (int64_t c = 0; c < C; c += 16) {
      const F32x16 xv = load_first(x + c, C - c), dyv = load_first(dy + c, C - c), wv = load_first(w + c, C - c);
      store_first(dx + c, sub(mul(mul(dyv, wv), rv), mul(xv, k)), C - c);
      store_first(dw + c, fma(mul(dyv, xv), rv, load_first(dw + c, C - c)), C - c);
    }
  }
}

void silu_mul_range(int64_t count, const float* gate, const float* up, float* y) {
  for (int64_t i = 0; i < count; i += 16) {
    const F32x16 g = load_first(gate + i, count - i);
    store_first(y + i, mul(mul(g, sigmoid(g)), load_first(up + i, count - i)), count - i);
  }
}

void silu_mul_backward_range(int64_t count, const float* gate, const float* up, const float* dy, float* dgate,
                             float* dup) {
  for (int64_t i = 0; i < count; i += 16) {
    const F32x16 g = load_first(gate + i, count - i), u = load_first(up + i, count - i);
    const F32x16 d = load_first(dy + i, count - i), s = sigmoid(g);
    store_first(dup + i, mul(d, mul(g, s)), count - i);
    const F32x16 slope = mul(s, fma(g, sub(set(1.0f), s), set(1.0f)));
    store_first(dgate + i, mul(mul(d, u), slope), count - i);
  }
}

void rope_row(int64_t H, int64_t D, const float* x, const float* cosine, const float* sine, float direction, float* y) {
  const int64_t half = D / 2;
  const F32x16 sign = set(direction);
  for (int64_t h = 0; h < H; ++h, x += D, y += D) {
    for (int64_t i = 0; i < half; i += 16) {
      const int64_t n = half - i;
      const F32x16 c = load_first(cosine + i, n), s = mul(load_first(sine + i, n), sign);
      const F32x16 x1 = load_first(x + i, n), x2 = load_first(x + half + i, n);
      store_first(y + i, sub(mul(x1, c), mul(x2, s)), n);
      store_first(y + half + i, fma(x2, c, mul(x1, s)), n);
    }
  }
}

static float scaled_max(int64_t V, const float* logits, float scale) {
  F32x16 best = set(-__builtin_inff());
  const F32x16 s = set(scale);
  int64_t v = 0;
  for (; v + 16 <= V; v += 16) best = max(best, mul(load(logits + v), s));
  float m = max_lane(best);
  for (; v < V; ++v) m = logits[v] * scale > m ? logits[v] * scale : m;
  return m;
}

// total = sum e^(z - m), weighted = sum e^(z - m) (z - m), m = max z; z = logits * scale.
void softmax_sums(int64_t V, const float* logits, float scale, float* maximum, double* total, double* weighted) {
  const float m = scaled_max(V, logits, scale);
  const F32x16 mv = set(m), s = set(scale);
  double e_sum = 0, ez_sum = 0;
  for (int64_t block = 0; block < V; block += 1024) {
    const int64_t end = block + 1024 < V ? block + 1024 : V;
    F32x16 e_acc = zero(), ez_acc = zero();
    for (int64_t v = block; v < end; v += 16) {
      const int count = end - v < 16 ? static_cast<int>(end - v) : 16;
      const F32x16 z = sub(mul(load_first(logits + v, count), s), mv);
      const F32x16 e = keep_first(exp(z), count);
      e_acc = add(e_acc, e);
      // A masked -inf has e = 0: keep 0 * inf out. `max` returns its second operand for NaN, so a NaN logit gets through.
      ez_acc = fma(e, max(set(-1e30f), z), ez_acc);
    }
    e_sum += sum_double(e_acc);
    ez_sum += sum_double(ez_acc);
  }
  *maximum = m;
  *total = e_sum;
  *weighted = ez_sum;
}

void logprob_backward_row(int64_t V, float* logits, float scale, float lse, float grad) {
  const F32x16 s = set(scale), l = set(lse), g = set(-grad * scale);
  for (int64_t v = 0; v < V; v += 16) {
    const F32x16 e = exp(sub(mul(load_first(logits + v, V - v), s), l));
    store_first(logits + v, mul(e, g), V - v);
  }
}

void softmax_weights_row(int64_t V, const float* logits, float scale, float* weights, double* block_sums) {
  const F32x16 mv = set(scaled_max(V, logits, scale)), s = set(scale);
  for (int64_t block = 0; block < V; block += 1024) {
    const int64_t end = block + 1024 < V ? block + 1024 : V;
    F32x16 acc = zero();
    for (int64_t v = block; v < end; v += 16) {
      const int count = end - v < 16 ? static_cast<int>(end - v) : 16;
      const F32x16 e = keep_first(exp(sub(mul(load_first(logits + v, count), s), mv)), count);
      store_first(weights + v, e, count);
      acc = add(acc, e);
    }
    block_sums[block / 1024] = sum_double(acc);
  }
}

}  // namespace r1::kernels::R1_ISA
