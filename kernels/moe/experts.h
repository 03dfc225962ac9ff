#pragma once
#include <cstdint>
#include <vector>

#include "kernels/gemm/gemm.h"

namespace r1::kernels {

/// The pairs (token n, place k) of a batch sorted by expert, stable: what a grouped product walks along.
struct ExpertOrder {
  std::vector<int64_t> offsets;  ///< [E + 1]: expert e owns pairs offsets[e] .. offsets[e + 1] - 1
  std::vector<int64_t> pairs;    ///< [N K]: n K + k
  std::vector<int64_t> active;   ///< experts with a token, by falling number of tokens
  int64_t experts_per_token = 0;

  int64_t first(int64_t e) const { return offsets[static_cast<size_t>(e)]; }
  int64_t count(int64_t e) const {
    return offsets[static_cast<size_t>(e) + 1] - offsets[static_cast<size_t>(e)];
  }
  int64_t token(int64_t place) const { return pairs[static_cast<size_t>(place)] / experts_per_token; }
};

/// Counting sort of experts_NK, each in [0, E): the caller has checked the range.
ExpertOrder order_by_expert(int64_t N, int64_t K, int64_t E, const int64_t* experts_NK);

/// One expert's SwiGLU: gate, up [F, C], down [C, F]. The packed forms may be null; where given they are
/// used.
struct ExpertMatrices {
  const float *gate, *up, *down;
  const PackedMatrix *packed_gate, *packed_up, *packed_down;
};

struct ExpertSizes {
  int64_t C, F;
};

/// y[n] = sum_k w[n,k] down_e(silu(gate_e x_n) * up_e x_n), e = expert of (n, k), added in order of k.
///
/// Rows of an expert are gathered: no padding, none dropped. Each element is one chain per product, so a
/// token's result does not depend on the others. gate_MF, up_MF [N K, F] in the order of the pairs are kept
/// for the backward pass.
void experts_forward(int64_t N, const ExpertSizes& sizes, const ExpertOrder& order,
                     const std::vector<ExpertMatrices>& experts, const float* x_NC, const float* weights_NK,
                     float* gate_MF, float* up_MF, float* y_NC);

/// y[n] = sum_k weights[n,k] rows[place of (n, k)], in order of k, one chain of fused multiply-adds; without weights (null) plain
/// sums. rows_MC in the order of the pairs.
void sum_pairs(int64_t N, int64_t C, const ExpertOrder& order, const float* rows_MC, const float* weights_NK, float* y_NC);

/// Where an expert's gradients go; null: not wanted. Written for active experts only.
struct ExpertGradients {
  float *gate, *up, *down;
};

/// dx_NC, dweights_NK and the experts' gradients, all overwritten.
void experts_backward(int64_t N, const ExpertSizes& sizes, const ExpertOrder& order,
                      const std::vector<ExpertMatrices>& experts, const float* x_NC, const float* weights_NK,
                      const float* gate_MF, const float* up_MF, const float* dy_NC, float* dx_NC,
                      float* dweights_NK, const std::vector<ExpertGradients>& gradients);

}  // namespace r1::kernels
