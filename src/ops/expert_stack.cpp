#include <torch/torch.h>

#include "r1/ops/moe.h"

namespace r1::ops {

using torch::Tensor;

namespace {

struct Sizes {
  int64_t E, C, F;
};

Sizes sizes_of(const std::vector<ExpertWeights>& experts) {
  TORCH_CHECK(!experts.empty(), "a stack of no experts");
  const auto& first = experts[0];
  for (size_t e = 0; e < experts.size(); ++e) {
    const auto& w = experts[e];
    for (const auto* m : {&w.gate_FC, &w.up_FC, &w.down_CF}) {
      const bool down = m == &w.down_CF;
      TORCH_CHECK(m->sizes() == (down ? first.down_CF : first.gate_FC).sizes() && m->scalar_type() == first.gate_FC.scalar_type() &&
                      m->device() == first.gate_FC.device() && m->is_contiguous(),
                  "stack of experts: a matrix of expert ", e, " is ", m->scalar_type(), " ", m->sizes(), " on ", m->device(),
                  "; the first expert's is ", first.gate_FC.scalar_type(), " ", (down ? first.down_CF : first.gate_FC).sizes(),
                  " on ", first.gate_FC.device(), ", contiguous");
    }
  }
  return {static_cast<int64_t>(experts.size()), first.gate_FC.size(1), first.gate_FC.size(0)};
}

bool lies_at(const Tensor& part, const Tensor& first, int64_t offset) {
  return part.is_alias_of(first) && part.storage_offset() == first.storage_offset() + offset;
}

// Whether the matrices are the parts of two stacks, in order.
bool are_stacked(const std::vector<ExpertWeights>& experts, const Sizes& s) {
  const auto &gate = experts[0].gate_FC, &down = experts[0].down_CF;
  for (int64_t e = 0; e < s.E; ++e) {
    const auto& w = experts[static_cast<size_t>(e)];
    if (!lies_at(w.gate_FC, gate, e * 2 * s.F * s.C) || !lies_at(w.up_FC, gate, (2 * e + 1) * s.F * s.C) ||
        !lies_at(w.down_CF, down, e * s.C * s.F)) {
      return false;
    }
  }
  return true;
}

ExpertStack copied(const std::vector<ExpertWeights>& experts, const Sizes& s) {
  const auto options = experts[0].gate_FC.options().requires_grad(false);
  ExpertStack stack{torch::empty({s.E, 2 * s.F, s.C}, options), torch::empty({s.E, s.C, s.F}, options)};
  for (int64_t e = 0; e < s.E; ++e) {
    const auto& w = experts[static_cast<size_t>(e)];
    stack.gate_up_E2FC.select(0, e).narrow(0, 0, s.F).copy_(w.gate_FC);
    stack.gate_up_E2FC.select(0, e).narrow(0, s.F, s.F).copy_(w.up_FC);
    stack.down_ECF.select(0, e).copy_(w.down_CF);
  }
  return stack;
}

}  // namespace

ExpertStack stacked_experts(const std::vector<ExpertWeights>& experts) {
  const torch::NoGradGuard no_grad;
  const auto s = sizes_of(experts);
  if (!are_stacked(experts, s)) return copied(experts, s);
  const auto &gate = experts[0].gate_FC, &down = experts[0].down_CF;
  return {gate.detach().as_strided({s.E, 2 * s.F, s.C}, {2 * s.F * s.C, s.C, 1}, gate.storage_offset()),
          down.detach().as_strided({s.E, s.C, s.F}, {s.C * s.F, s.F, 1}, down.storage_offset())};
}

void stack_experts(const std::vector<ExpertWeights>& experts) {
  const torch::NoGradGuard no_grad;
  const auto s = sizes_of(experts);
  if (are_stacked(experts, s)) return;
  const auto stack = copied(experts, s);
  for (int64_t e = 0; e < s.E; ++e) {
    auto w = experts[static_cast<size_t>(e)];
    w.gate_FC.set_data(stack.gate_up_E2FC.select(0, e).narrow(0, 0, s.F));
    w.up_FC.set_data(stack.gate_up_E2FC.select(0, e).narrow(0, s.F, s.F));
    w.down_CF.set_data(stack.down_ECF.select(0, e));
  }
}

}  // namespace r1::ops
