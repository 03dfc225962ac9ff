#include "r1/train/mtp.h"

#include <torch/torch.h>

#include <algorithm>

#include "r1/ops/devices.h"
#include "tokens.h"

namespace r1::train {

MtpConfig MtpConfig::parse(ConfigNode node, double default_weight, bool own_rate) {
  MtpConfig c;
  c.loss_weight = default_weight;
  node.read("loss_weight", c.loss_weight, at_least(0.0), "0 leaves the module as it is.");
  if (own_rate) node.read("lr", c.lr, at_least(0.0), "0 takes the stage's.");
  node.reject_unknown_keys();
  return c;
}

MtpLoss mtp_loss(model::Transformer& model, const at::Tensor& hidden_NC, const PackedBatch& batch, const model::RoutingPtr& routing,
                 double inv_temperature, model::MtpGradient gradient) {
  const model::MtpLayout rows(batch.layout);
  std::vector<int64_t> mtp_rows, kept;
  const auto rows_M = batch.rows_M.cpu();  // sync: which of them the module predicts is worked out on the host
  const auto* trunk_rows = rows_M.data_ptr<int64_t>();
  for (int64_t m = 0; m < rows_M.size(0); ++m) {
    const int64_t row = rows.row_of[static_cast<size_t>(trunk_rows[m])];
    if (row < 0) continue;
    mtp_rows.push_back(row);
    kept.push_back(m);
  }
  MtpLoss out;
  out.targets = static_cast<int64_t>(kept.size());
  if (kept.empty() && !model->expert_ranks().dealt()) return out;  // dealt: other ranks wait for this one's pass
  out.counts = model::mtp_counts(model->config(), model::counts_of(rows.layout, out.targets));
  const auto hidden_MC = model->mtp_hidden(batch.tokens_N, hidden_NC, rows, gradient, routing);
  const auto there = [&](const std::vector<int64_t>& x) { return ops::to_device(torch::tensor(x, torch::kLong), hidden_NC.device()); };
  const auto targets = batch.targets_M.index_select(0, there(kept));
  out.sum = -std::get<0>(model->mtp_logprobs(gather_rows(hidden_MC, there(mtp_rows)), targets, inv_temperature,
                                             gradient)).sum();
  return out;
}

int64_t count_mtp_targets(const std::vector<TokenTree>& trees) {
  int64_t targets = 0;
  for (const auto& tree : trees) {
    const int64_t unseen = tree.prompt.size() == 1 ? 1 : 0;
    for (const auto& tokens : tree.continuations) targets += std::max<int64_t>(0, static_cast<int64_t>(tokens.size()) - unseen);
  }
  return targets;
}

}  // namespace r1::train
