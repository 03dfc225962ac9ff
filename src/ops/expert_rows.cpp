#include "r1/ops/expert_rows.h"

#include <torch/torch.h>

#include "experts_plan.h"

namespace r1::ops {

using torch::Tensor;

namespace {

// As for a dense layer: below it a product without gradients streams a packed weight.
constexpr int64_t kPackedRows = 384;

const float* ptr(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }
float* out_ptr(const Tensor& x) { return x.mutable_data_ptr<float>(); }

void check_float32(const Tensor& x, const char* what) {
  TORCH_CHECK(x.is_cpu() && x.scalar_type() == torch::kFloat, what, ": float32 on a CPU is accepted, got ", x.scalar_type(), " on ", x.device());
}

}  // namespace

void check_experts(const Tensor& experts_NK, int64_t num_experts) {
  TORCH_CHECK(experts_NK.dim() == 2 && experts_NK.scalar_type() == torch::kLong,
              "experts must be [N, K] int64, got ", experts_NK.sizes(), " ", experts_NK.scalar_type());
  if (experts_NK.numel() == 0) return;
  TORCH_CHECK(experts_NK.min().item<int64_t>() >= 0 && experts_NK.max().item<int64_t>() < num_experts,
              "an expert is outside 0..", num_experts - 1);
}

ExpertsPlan::ExpertsPlan(const Tensor& experts_NK, const std::vector<ExpertWeights>& experts, bool with_backward) {
  const int64_t N = experts_NK.size(0), K = experts_NK.size(1);
  order = kernels::order_by_expert(N, K, static_cast<int64_t>(experts.size()), experts_NK.contiguous().data_ptr<int64_t>());
  sizes = {experts[0].gate_FC.size(1), experts[0].gate_FC.size(0)};
  for (const auto& w : experts) {
    TORCH_CHECK(w.gate_FC.is_contiguous() && w.up_FC.is_contiguous() && w.down_CF.is_contiguous(), "matrices of expert ", matrices.size(),
                " are not contiguous");
    matrices.push_back({ptr(w.gate_FC), ptr(w.up_FC), ptr(w.down_CF), nullptr, nullptr, nullptr});
  }
  if (with_backward || N > kPackedRows) return;
  for (const int64_t e : order.active) {
    const auto& w = experts[static_cast<size_t>(e)];
    if (w.packed_gate == nullptr) continue;
    auto& m = matrices[static_cast<size_t>(e)];
    m.packed_gate = &w.packed_gate->of(w.gate_FC);
    m.packed_up = &w.packed_up->of(w.up_FC);
    m.packed_down = &w.packed_down->of(w.down_CF);
  }
}

ExpertPairs::ExpertPairs(const Tensor& experts_NK, int64_t num_experts) : N_(experts_NK.size(0)), K_(experts_NK.size(1)) {
  check_experts(experts_NK, num_experts);
  order_ = std::make_shared<kernels::ExpertOrder>(kernels::order_by_expert(N_, K_, num_experts, experts_NK.contiguous().data_ptr<int64_t>()));
  for (int64_t e = 0; e < num_experts; ++e) counts_.push_back(order_->count(e));
  pairs_M_ = torch::tensor(order_->pairs, torch::kLong);
}

Tensor ExpertPairs::rows(const Tensor& x_NC) const { return x_NC.index_select(0, pairs_M_.floor_divide(K_)); }
Tensor ExpertPairs::weights(const Tensor& weights_NK) const { return weights_NK.reshape({-1}).index_select(0, pairs_M_); }

Tensor ExpertPairs::by_token(const Tensor& values_M) const {
  return torch::empty({N_ * K_}, values_M.options()).index_copy_(0, pairs_M_, values_M).view({N_, K_});
}

Tensor ExpertPairs::sum(const Tensor& rows_MC, const Tensor& weights_NK) const {
  check_float32(rows_MC, "ExpertPairs::sum");
  auto y_NC = torch::empty({N_, rows_MC.size(1)}, rows_MC.options());
  kernels::sum_pairs(N_, rows_MC.size(1), *order_, ptr(rows_MC), ptr(weights_NK), out_ptr(y_NC));
  return y_NC;
}

ExpertRows::ExpertRows(Tensor x_SC, const Tensor& experts_S, std::vector<ExpertWeights> experts, bool with_backward)
    : x_SC_(std::move(x_SC)), experts_(std::move(experts)) {
  check_float32(x_SC_, "ExpertRows");
  plan_ = std::make_shared<ExpertsPlan>(experts_S.unsqueeze(1), experts_, with_backward);
  const int64_t S = x_SC_.size(0);
  gate_SF_ = torch::empty({S, plan_->sizes.F}, x_SC_.options());
  up_SF_ = torch::empty_like(gate_SF_);
  outputs_SC_ = torch::empty_like(x_SC_);
  kernels::experts_forward(S, plan_->sizes, plan_->order, plan_->matrices, ptr(x_SC_), nullptr, out_ptr(gate_SF_), out_ptr(up_SF_),
                           out_ptr(outputs_SC_));
}

ExpertRows::Gradients ExpertRows::backward(const Tensor& dy_SC, const Tensor& weights_S) const {
  Gradients out{torch::empty_like(x_SC_), torch::empty_like(weights_S), std::vector<Tensor>(3 * experts_.size())};
  std::vector<kernels::ExpertGradients> gradients(experts_.size());
  for (const int64_t e : plan_->order.active) {
    const auto& w = experts_[static_cast<size_t>(e)];
    auto* matrices = &out.matrices[static_cast<size_t>(3 * e)];
    matrices[0] = torch::empty_like(w.gate_FC);
    matrices[1] = torch::empty_like(w.up_FC);
    matrices[2] = torch::empty_like(w.down_CF);
    gradients[static_cast<size_t>(e)] = {out_ptr(matrices[0]), out_ptr(matrices[1]), out_ptr(matrices[2])};
  }
  kernels::experts_backward(x_SC_.size(0), plan_->sizes, plan_->order, plan_->matrices, ptr(x_SC_), ptr(weights_S), ptr(gate_SF_), ptr(up_SF_),
                            ptr(dy_SC), out_ptr(out.x_SC), out_ptr(out.weights_S), gradients);
  return out;
}

}  // namespace r1::ops
