#include "bench_experts.h"

#include <torch/torch.h>

#include "r1/ops/moe.h"
#include "r1/ops/ops.h"
#include "r1/util/error.h"

namespace r1::pipeline {
namespace {

model::ModelConfig one_expert_layer(model::ModelConfig c) {
  if (c.num_expert_layers() == 0) {
    throw Error("r1 bench experts: the model has no expert layer; give n_routed_experts and first_k_dense_replace below num_layers");
  }
  c.num_layers = c.first_k_dense_replace + 1;
  return c;
}

}  // namespace

ExpertsBench::ExpertsBench(const model::ModelConfig& config, int64_t num_rows) : model_(one_expert_layer(config)) {
  model_->initialize(1);
  layer_ = model_->expert_layers().front();
  torch::manual_seed(1);
  x_NC_ = torch::randn({num_rows, config.hidden_size});
  dy_NC_ = torch::randn_like(x_NC_);
}

void ExpertsBench::run() {
  for (auto& p : layer_->parameters()) p.mutable_grad().reset();
  const auto x_NC = x_NC_.detach().requires_grad_();
  layer_->forward(x_NC, model::BlockPass{}).backward(dy_NC_);
}

double ExpertsBench::flop() const {
  const auto& c = model_->config();
  const double pairs = static_cast<double>(x_NC_.size(0) * (c.num_experts_per_tok + c.n_shared_experts));
  return 3 * (6 * pairs * static_cast<double>(c.hidden_size * c.moe_intermediate_size) +
              2.0 * static_cast<double>(x_NC_.numel() * c.n_routed_experts));
}

double ExpertsBench::load_max() const {
  const torch::NoGradGuard no_grad;
  const auto routes = ops::moe_gate(ops::linear(x_NC_, layer_->gate->weight), layer_->gate->e_score_correction_bias, layer_->rule);
  const auto counts_E = ops::expert_counts(routes.experts_NK, layer_->rule.num_experts).to(torch::kDouble);
  return (counts_E.max() / counts_E.mean()).item<double>();
}

}  // namespace r1::pipeline
