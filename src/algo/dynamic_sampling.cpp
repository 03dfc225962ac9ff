#include "r1/algo/dynamic_sampling.h"

#include <torch/torch.h>

#include <limits>

namespace r1::algo {
namespace {

at::Tensor valid_or_all(const char* function, const at::Tensor& values_PG, const at::Tensor& valid_PG) {
  TORCH_CHECK(values_PG.defined() && values_PG.dim() == 2, function, ": expected a [P, G] tensor");
  TORCH_CHECK(
      !valid_PG.defined() || (valid_PG.sizes() == values_PG.sizes() && valid_PG.scalar_type() == at::kBool),
      function, ": valid must be a bool tensor of shape ", values_PG.sizes());
  return valid_PG.defined() ? valid_PG : at::ones_like(values_PG, at::kBool);
}

}  // namespace

at::Tensor mixed_groups(const at::Tensor& rewards_PG, const at::Tensor& valid_PG) {
  const auto valid = valid_or_all("mixed_groups", rewards_PG, valid_PG);
  TORCH_CHECK(rewards_PG.is_floating_point(), "mixed_groups: rewards must be floating, got ",
              rewards_PG.scalar_type());
  if (rewards_PG.size(1) == 0) return at::zeros({rewards_PG.size(0)}, valid.options());
  const auto infinity = std::numeric_limits<double>::infinity();
  return rewards_PG.masked_fill(~valid, -infinity).amax(1) > rewards_PG.masked_fill(~valid, infinity).amin(1);
}

GroupCounts& GroupCounts::operator+=(const GroupCounts& other) {
  total += other.total;
  mixed += other.mixed;
  all_right += other.all_right;
  all_wrong += other.all_wrong;
  unjudged += other.unjudged;
  return *this;
}

GroupCounts count_groups(const at::Tensor& right_PG, const at::Tensor& valid_PG) {
  const auto valid = valid_or_all("count_groups", right_PG, valid_PG);
  TORCH_CHECK(right_PG.scalar_type() == at::kBool, "count_groups: right must be bool, got ",
              right_PG.scalar_type());
  const auto any_right_P = (right_PG & valid).any(1), any_wrong_P = (~right_PG & valid).any(1);
  const auto counts = at::stack({(any_right_P & any_wrong_P).sum(), (any_right_P & ~any_wrong_P).sum(),
                                 (~any_right_P & any_wrong_P).sum(), (~any_right_P & ~any_wrong_P).sum()})
                          .cpu();  // sync: metrics, once a step
  const auto* n = counts.data_ptr<int64_t>();
  return {right_PG.size(0), n[0], n[1], n[2], n[3]};
}

}  // namespace r1::algo
