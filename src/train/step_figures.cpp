#include "step_figures.h"

#include <torch/torch.h>

#include <algorithm>

namespace r1::train {

StepFigures::StepFigures(int64_t micro_batches, int64_t figures, at::Device device)
    : values_MF_(torch::zeros({micro_batches, figures}, torch::TensorOptions(device).dtype(torch::kDouble))) {}

void StepFigures::set(int64_t micro_batch, const std::vector<at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> row;
  for (const auto& value : values) row.push_back(value.detach().to(values_MF_.options()));
  values_MF_[micro_batch].copy_(torch::stack(row));
}

void StepFigures::gather(const Sharing& sharing) {
  // One rank alone has set each row, so that adding the others' zeros changes nothing.
  if (!sharing.ranks->alone()) sharing.ranks->all_reduce(values_MF_, dist::Reduce::kSum, "figures of the step").wait();
  values_MF_ = values_MF_.cpu();  // sync: a loss that is not finite must stop the step
}

double StepFigures::sum(int64_t figure) const {
  const auto values = values_MF_.accessor<double, 2>();
  double total = 0;
  for (int64_t m = 0; m < values.size(0); ++m) total += values[m][figure];
  return total;
}

double StepFigures::max(int64_t figure) const {
  const auto values = values_MF_.accessor<double, 2>();
  double largest = 0;
  for (int64_t m = 0; m < values.size(0); ++m) largest = std::max(largest, values[m][figure]);
  return largest;
}

}  // namespace r1::train
