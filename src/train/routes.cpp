#include "r1/train/routes.h"

#include <torch/torch.h>

#include <algorithm>

namespace r1::train {

std::vector<at::Tensor> sampled_routes(const PackedBatch& batch,
                                       const std::vector<const rollout::RolloutGroup*>& groups, int64_t L,
                                       int64_t K) {
  if (groups.empty() || groups[0]->prompt_routes.empty() || L == 0) return {};
  const int64_t N = batch.layout.num_rows;
  auto routes_LNK = torch::empty({L, N, K}, torch::kLong);
  auto* out = routes_LNK.data_ptr<int64_t>();
  const auto write = [&](const ops::Segment& s, const std::vector<int16_t>& routes) {
    TORCH_CHECK(static_cast<int64_t>(routes.size()) >= s.num_rows * L * K, "sampled_routes: ", routes.size(),
                " routes for ", s.num_rows, " rows");
    for (int64_t i = 0; i < s.num_rows; ++i) {
      for (int64_t l = 0; l < L; ++l) {
        for (int64_t k = 0; k < K; ++k)
          out[(l * N + s.first_row + i) * K + k] = routes[static_cast<size_t>((i * L + l) * K + k)];
      }
    }
  };
  for (size_t i = 0; i < batch.layout.segments.size(); ++i) {
    const auto [tree, index] = batch.segment_members[i];
    write(batch.layout.segments[i], index < 0 ? groups[tree]->prompt_routes
                                              : groups[tree]->completions[static_cast<size_t>(index)].routes);
  }
  std::vector<at::Tensor> layers;
  for (int64_t l = 0; l < L; ++l) layers.push_back(routes_LNK[l]);
  return layers;
}

at::Tensor count_differing_routes(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  auto differing = a.empty() ? torch::zeros({}, torch::kLong) : torch::zeros({}, a[0].options());
  for (size_t l = 0; l < a.size(); ++l) {
    differing += a[l].numel() - (a[l].unsqueeze(2) == b[l].unsqueeze(1)).any(2).sum();
  }
  return differing;
}

}  // namespace r1::train
