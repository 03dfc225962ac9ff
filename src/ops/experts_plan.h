#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/moe/experts.h"
#include "r1/ops/moe.h"

namespace r1::ops {

/// Throws c10::Error unless experts_NK is [N, K] int64 with experts 0..E-1.
void check_experts(const at::Tensor& experts_NK, int64_t num_experts);

/// What the kernels of experts take: rows in order and matrices as pointers, which the caller keeps alive.
struct ExpertsPlan {
  ExpertsPlan() = default;
  /// Float32 on a CPU. Where no backward pass follows, few rows stream the packed matrices.
  ExpertsPlan(const at::Tensor& experts_NK, const std::vector<ExpertWeights>& experts, bool with_backward);

  kernels::ExpertOrder order;
  std::vector<kernels::ExpertMatrices> matrices;
  kernels::ExpertSizes sizes = {};
};

}  // namespace r1::ops
