// Compiled once per instruction set (kernels/CMakeLists.txt). Serial functions over one row; experts.cpp spreads them.
#include "kernels/cpu/f32x16.h"

namespace r1::kernels::R1_ISA {

// y[c] = sum_k weights[k] rows[k][c], one chain of fused multiply-adds over ascending k. Without weights: plain sums.
void add_rows(int64_t K, int64_t C, const float* const* rows, const float* weights, float* y) {
  for (int64_t c = 0; c < C; c += 16) {
    F32x16 total = zero();
    for (int64_t k = 0; k < K; ++k) {
      const F32x16 v = load_first(rows[k] + c, C - c);
      total = weights == nullptr ? add(total, v) : fma(set(weights[k]), v, total);
    }
    store_first(y + c, total, C - c);
  }
}

// One routed pair's way back through y = weight * down(silu(gate) * up). `dhidden` is down^T dy.
//   returns d weight = dhidden . hidden;  hidden = weight silu(gate) up, as d down wants it;
//   dgate, dup: gradients of weight * (dhidden . silu(gate) up)
float swiglu_backward_row(int64_t F, const float* gate, const float* up, const float* dhidden, float weight, float* hidden,
                          float* dgate, float* dup) {
  F32x16 dot = zero();
  const F32x16 w = set(weight);
  for (int64_t f = 0; f < F; f += 16) {
    const int64_t n = F - f;
    const F32x16 g = load_first(gate + f, n), u = load_first(up + f, n), d = load_first(dhidden + f, n);
    const F32x16 s = sigmoid(g), silu = mul(g, s), h = mul(silu, u), dw = mul(d, w);
    dot = fma(d, h, dot);
    store_first(hidden + f, mul(h, w), n);
    store_first(dup + f, mul(dw, silu), n);
    store_first(dgate + f, mul(mul(dw, u), mul(s, fma(g, sub(set(1.0f), s), set(1.0f)))), n);
  }
  return sum(dot);
}

}  // namespace r1::kernels::R1_ISA
