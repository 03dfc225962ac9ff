#include "r1/train/expert_balance.h"

#include <torch/torch.h>

#include <algorithm>

#include "r1/ops/moe.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

constexpr int64_t kListedExperts =
    512;  // of all layers; beyond it metrics.jsonl keeps a layer's busiest alone

}  // namespace

ExpertConfig ExpertConfig::parse(ConfigNode node, ExpertConfig c) {
  node.read("bias_rate", c.bias_rate, at_least(0.0), "0 freezes the biases.");
  node.read("balance_loss", c.balance_loss, at_least(0.0), "0 leaves the loss out.");
  node.read("routing_replay", c.routing_replay);
  node.reject_unknown_keys();
  return c;
}

ExpertBalance::ExpertBalance(model::Transformer model, ExpertConfig config)
    : model_(std::move(model)), config_(config) {
  const torch::TensorOptions there(model_->device());
  for (const auto& layer : model_->expert_layers()) {
    counts_.push_back(torch::zeros({layer->rule.num_experts}, there.dtype(torch::kLong)));
    step_counts_.push_back(torch::zeros_like(counts_.back()));
  }
}

model::RoutingPtr ExpertBalance::routing(int64_t sequences_in_step) const {
  if (counts_.empty()) return nullptr;
  auto routing = std::make_shared<model::Routing>();
  routing->balance_weight =
      config_.balance_loss / static_cast<double>(std::max<int64_t>(1, sequences_in_step));
  return routing;
}

at::Tensor ExpertBalance::add(const model::RoutingPtr& routing) {
  auto balance = torch::zeros({}, torch::TensorOptions(model_->device()).dtype(torch::kDouble));
  if (!routing) return balance;
  for (size_t l = 0; l < routing->experts.size(); ++l)  // without the MTP module's where that was not computed
    step_counts_[l] += ops::expert_counts(routing->experts[l], counts_[l].size(0));
  for (const auto& b : routing->balance) balance += b.detach().to(torch::kDouble) * routing->balance_weight;
  return balance;
}

void ExpertBalance::update_biases(const Sharing& sharing, double balance) {
  if (counts_.empty()) return;
  const torch::NoGradGuard no_grad;
  balance_ += balance;
  if (!sharing.ranks->alone()) {
    const auto loads = torch::cat(step_counts_);
    sharing.ranks->all_reduce(loads, dist::Reduce::kSum, "experts' loads").wait();
    int64_t at = 0;
    for (auto& counts : step_counts_) {
      counts.copy_(loads.narrow(0, at, counts.size(0)));
      at += counts.size(0);
    }
  }
  for (size_t l = 0; l < counts_.size(); ++l) {
    const auto load = step_counts_[l].to(torch::kDouble);
    const auto& bias = model_->expert_layers()[l]->gate->e_score_correction_bias;
    if (config_.bias_rate > 0 && bias.defined())
      bias.add_((load.mean() - load).sign().to(bias.dtype()), config_.bias_rate);
    counts_[l] += step_counts_[l];
    step_counts_[l].zero_();
  }
}

void ExpertBalance::report(std::vector<std::pair<std::string, double>>& metrics) {
  if (counts_.empty()) return;
  const int64_t first_layer = model_->config().first_k_dense_replace, E = counts_[0].size(0);
  double busiest = 0, bias = 0;
  std::vector<std::pair<std::string, double>> listed;
  for (size_t l = 0; l < counts_.size(); ++l) {
    const auto counts = counts_[l].cpu();  // sync: figures are for the host
    const auto total = counts.sum().item<double>();
    if (total == 0) continue;
    const auto load = counts.to(torch::kDouble) / std::max(1.0, total / static_cast<double>(E));
    const auto layer = cat("expert_load_layer", first_layer + static_cast<int64_t>(l));
    listed.emplace_back(cat(layer, "_max"), load.max().item<double>());
    busiest = std::max(busiest, listed.back().second);
    if (static_cast<int64_t>(counts_.size()) * E <= kListedExperts) {
      for (int64_t e = 0; e < E; ++e) listed.emplace_back(cat(layer, "_", e), load[e].item<double>());
    }
    const auto& b = model_->expert_layers()[l]->gate->e_score_correction_bias;
    if (b.defined()) bias = std::max(bias, b.abs().max().item<double>());
    counts_[l].zero_();
  }
  metrics.emplace_back("expert_load_max", busiest);
  metrics.emplace_back("expert_bias_max", bias);
  metrics.emplace_back("balance_loss", balance_);
  metrics.insert(metrics.end(), listed.begin(), listed.end());
  balance_ = 0;
}

}  // namespace r1::train
