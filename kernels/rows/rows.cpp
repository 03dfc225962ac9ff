#include "kernels/rows/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/parallel.h"

namespace r1::kernels {

#define R1_DECLARE(isa)                                                                                              \
  namespace isa {                                                                                                    \
  void rms_norm_rows(int64_t N, int64_t C, const float* x, const float* w, float eps, float* y, float* rstd);        \
  void rms_norm_backward_rows(int64_t N, int64_t C, const float* x, const float* w, const float* rstd,               \
                              const float* dy, float* dx, float* dw);                                                \
  void silu_mul_range(int64_t count, const float* gate, const float* up, float* y);                                  \
  void silu_mul_backward_range(int64_t count, const float* gate, const float* up, const float* dy, float* dgate,     \
                               float* dup);                                                                          \
  void rope_row(int64_t H, int64_t D, const float* x, const float* cosine, const float* sine, float direction,       \
                float* y);                                                                                           \
  void softmax_sums(int64_t V, const float* logits, float scale, float* maximum, double* total, double* weighted);   \
  void logprob_backward_row(int64_t V, float* logits, float scale, float lse, float grad);                           \
  void softmax_weights_row(int64_t V, const float* logits, float scale, float* weights, double* block_sums);         \
  }
R1_DECLARE(avx2)
R1_DECLARE(avx512)
#undef R1_DECLARE

namespace {

// Calls fn(begin, end) over [0, count) in fixed chunks; serially when the whole is small.
template <typename Fn>
void chunks(int64_t count, int64_t chunk, int64_t work_per_item, const Fn& fn) {
  const int64_t tasks = (count + chunk - 1) / chunk;
  const auto run = [&](int64_t t) { fn(t * chunk, std::min(count, (t + 1) * chunk)); };
  if (tasks <= 1 || count * work_per_item < 16384) {
    for (int64_t t = 0; t < tasks; ++t) run(t);
  } else {
    parallel_for(tasks, run);
  }
}

int64_t rows_per_chunk(int64_t row_work) { return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, row_work)); }

}  // namespace

void rms_norm_forward(int64_t N, int64_t C, const float* x, const float* w, float eps, float* y, float* rstd) {
  chunks(N, rows_per_chunk(C), C, [&](int64_t b, int64_t e) {
    R1_CPU_CALL(rms_norm_rows, e - b, C, x + b * C, w, eps, y + b * C, rstd == nullptr ? nullptr : rstd + b);
  });
}

void rms_norm_backward(int64_t N, int64_t C, const float* x, const float* w, const float* rstd, const float* dy,
                       float* dx, float* dw) {
  constexpr int64_t kRows = 64;  // partial sums of dw per 64 rows, added in order: the same for any thread count
  const int64_t tasks = (N + kRows - 1) / kRows;
  std::vector<float> partial(static_cast<size_t>(tasks * C), 0.0f);
  chunks(N, kRows, C, [&](int64_t b, int64_t e) {
    R1_CPU_CALL(rms_norm_backward_rows, e - b, C, x + b * C, w, rstd + b, dy + b * C, dx + b * C,
                partial.data() + b / kRows * C);
  });
  std::fill(dw, dw + C, 0.0f);
  for (int64_t t = 0; t < tasks; ++t) {
    for (int64_t c = 0; c < C; ++c) dw[c] += partial[static_cast<size_t>(t * C + c)];
  }
}

void silu_mul_forward(int64_t count, const float* gate, const float* up, float* y) {
  chunks(count, 8192, 4, [&](int64_t b, int64_t e) { R1_CPU_CALL(silu_mul_range, e - b, gate + b, up + b, y + b); });
}

void silu_mul_backward(int64_t count, const float* gate, const float* up, const float* dy, float* dgate, float* dup) {
  chunks(count, 8192, 8, [&](int64_t b, int64_t e) {
    R1_CPU_CALL(silu_mul_backward_range, e - b, gate + b, up + b, dy + b, dgate + b, dup + b);
  });
}

void rope(int64_t N, int64_t H, int64_t D, const float* x, const int64_t* positions, const float* cosine,
          const float* sine, float direction, float* y) {
  chunks(N, rows_per_chunk(H * D), H * D, [&](int64_t b, int64_t e) {
    for (int64_t n = b; n < e; ++n) {
      const int64_t at = positions[n] * (D / 2);
      R1_CPU_CALL(rope_row, H, D, x + n * H * D, cosine + at, sine + at, direction, y + n * H * D);
    }
  });
}

void logsumexp(int64_t N, int64_t V, const float* logits, float inv_temperature, float* lse, float* entropy) {
  chunks(N, rows_per_chunk(V * 4), V * 8, [&](int64_t b, int64_t e) {
    for (int64_t n = b; n < e; ++n) {
      float maximum = 0;
      double total = 0, weighted = 0;
      R1_CPU_CALL(softmax_sums, V, logits + n * V, inv_temperature, &maximum, &total, &weighted);
      lse[n] = std::isnan(weighted) ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(maximum + std::log(total));
      if (entropy != nullptr) entropy[n] = static_cast<float>(std::log(total) - weighted / total);
    }
  });
}

void logprob_backward_(int64_t N, int64_t V, float* logits, float inv_temperature, const float* lse,
                       const int64_t* targets, const float* grad) {
  chunks(N, rows_per_chunk(V * 4), V * 8, [&](int64_t b, int64_t e) {
    for (int64_t n = b; n < e; ++n) {
      if (grad[n] == 0.0f) {  // also where the logits overflowed: 0 * inf would be NaN
        std::fill(logits + n * V, logits + (n + 1) * V, 0.0f);
        continue;
      }
      R1_CPU_CALL(logprob_backward_row, V, logits + n * V, inv_temperature, lse[n], grad[n]);
      logits[n * V + targets[n]] += grad[n] * inv_temperature;
    }
  });
}

void softmax_weights(int64_t V, const float* logits, float inv_temperature, float* weights, double* block_sums) {
  R1_CPU_CALL(softmax_weights_row, V, logits, inv_temperature, weights, block_sums);
}

}  // namespace r1::kernels
