#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "r1/ops/moe.h"

// expert_mlp taken apart, for experts that are on other ranks than the tokens: where the tokens are, their pairs with experts are
// sorted, sent and added up (ExpertPairs); where an expert is, its rows go through it (ExpertRows). Float32 on a CPU. The parts
// together give the bits of expert_mlp, forward and backward (moe.h). Not differentiable: model/expert_exchange.h puts them together.
namespace r1::kernels {
struct ExpertOrder;
}

namespace r1::ops {

struct ExpertsPlan;

/// The M = N K pairs (token n, place k) sorted by expert, those of one expert in order of n, then k.
class ExpertPairs {
 public:
  /// experts_NK [N, K] int64. Throws c10::Error for an expert outside 0..E-1.
  ExpertPairs(const at::Tensor& experts_NK, int64_t num_experts);

  /// Pairs of each expert: [E].
  const std::vector<int64_t>& counts() const { return counts_; }
  /// Each pair's row: [N, C] -> [M, C].
  at::Tensor rows(const at::Tensor& x_NC) const;
  /// Each pair's weight: [N, K] -> [M].
  at::Tensor weights(const at::Tensor& weights_NK) const;
  /// The inverse of weights(): [M] -> [N, K].
  at::Tensor by_token(const at::Tensor& values_M) const;
  /// y[n] = sum_k w[n,k] row of (n, k), or without weights_NK (undefined) their plain sum: [M, C] -> [N, C].
  at::Tensor sum(const at::Tensor& rows_MC, const at::Tensor& weights_NK) const;

 private:
  int64_t N_, K_;
  std::shared_ptr<const kernels::ExpertOrder> order_;
  at::Tensor pairs_M_;  // n K + k
  std::vector<int64_t> counts_;
};

/// Rows through one expert each: v[s] = down_e(silu(gate_e x_s) * up_e x_s), e = experts_S[s].
class ExpertRows {
 public:
  /// x_SC [S, C]; experts_S [S] int64, places in `experts`. Where no backward pass follows, few rows stream the
  /// packed weights.
  ExpertRows(at::Tensor x_SC, const at::Tensor& experts_S, std::vector<ExpertWeights> experts, bool with_backward);

  const at::Tensor& outputs_SC() const { return outputs_SC_; }

  struct Gradients {
    at::Tensor x_SC, weights_S;
    std::vector<at::Tensor> matrices;  ///< [3 experts]: gate, up, down of each; undefined for an expert without rows
  };
  /// From the gradient dy of y = ... + w_s v[s] + ...: those of x_s, w_s and the matrices.
  Gradients backward(const at::Tensor& dy_SC, const at::Tensor& weights_S) const;

 private:
  at::Tensor x_SC_, gate_SF_, up_SF_, outputs_SC_;
  std::vector<ExpertWeights> experts_;
  std::shared_ptr<const ExpertsPlan> plan_;
};

}  // namespace r1::ops
