#include "r1/ops/moe.h"

#include <torch/torch.h>

#include "expert_exchange.h"
#include "r1/model/layers.h"
#include "r1/ops/ops.h"

namespace r1::model {

using torch::Tensor;

GateImpl::GateImpl(const ModelConfig& c, at::TensorOptions options) {
  weight = register_parameter("weight", torch::zeros({c.n_routed_experts, c.hidden_size}, options));
  if (c.has_correction_bias()) {
    const bool wide = c10::typeMetaToScalarType(options.dtype()) == torch::kDouble;
    e_score_correction_bias = register_buffer(
        "e_score_correction_bias", torch::zeros({c.n_routed_experts}, options.dtype(wide ? torch::kDouble : torch::kFloat)));
  }
}

MoeImpl::MoeImpl(const ModelConfig& c, int64_t expert_layer_, at::TensorOptions options, const ExpertRanks& ranks_)
    : expert_layer(expert_layer_), ranks(ranks_) {
  rule.num_experts = c.n_routed_experts;
  rule.experts_per_token = c.num_experts_per_tok;
  const bool grouped = c.topk_method != "greedy";
  rule.num_groups = grouped ? c.n_group : 1;
  rule.groups_kept = grouped ? c.topk_group : 1;
  rule.sigmoid = c.scoring_func == "sigmoid";
  rule.group_by_top_two = c.has_correction_bias();
  rule.normalize = c.norm_topk_prob;
  rule.scale = c.routed_scaling_factor;
  gate = register_module("gate", Gate(c, options));
  auto list = register_module("experts", std::make_shared<torch::nn::Module>());
  for (int64_t e = ranks.begin(c.n_routed_experts); e < ranks.end(c.n_routed_experts); ++e) {
    experts.emplace_back(c.hidden_size, c.moe_intermediate_size, false, options);
    list->register_module(std::to_string(e), experts.back());
  }
  if (c.n_shared_experts > 0) {
    shared_experts = register_module(
        "shared_experts", Mlp(c.hidden_size, c.n_shared_experts * c.moe_intermediate_size, false, options));
  }
  if (!options.device().is_cpu() && !options.device().is_meta()) stack_experts();
}

std::vector<ops::ExpertWeights> MoeImpl::matrices() {
  std::vector<ops::ExpertWeights> all;
  all.reserve(experts.size());
  for (auto& e : experts) {
    all.push_back({e->gate_proj->weight, e->up_proj->weight, e->down_proj->weight, &e->gate_proj->packed,
                   &e->up_proj->packed, &e->down_proj->packed});
  }
  return all;
}

const std::vector<Tensor>& MoeImpl::leaves() {
  if (!leaves_.empty()) return leaves_;
  const bool apart = ranks.dealt() && ranks.by_source;
  for (int source = 0; source < (apart ? ranks.group->size() : 1); ++source) {
    for (const auto& e : experts) {
      for (const auto& weight : {e->gate_proj->weight, e->up_proj->weight, e->down_proj->weight})
        leaves_.push_back(apart ? weight.detach().requires_grad_(weight.requires_grad()) : weight);
    }
  }
  return leaves_;
}

void MoeImpl::stack_experts() { ops::stack_experts(matrices()); }

Tensor MoeImpl::forward(const Tensor& x_NC, const BlockPass& pass) {
  auto* routing = pass.routing.get();
  const auto at = static_cast<size_t>(expert_layer);
  const auto chosen =
      routing != nullptr && at < routing->chosen_experts.size() ? routing->chosen_experts[at] : Tensor();
  // Scores in bf16 would tie: a device's gate multiplies in float32.
  const auto dtype = x_NC.scalar_type() == torch::kDouble ? torch::kDouble : torch::kFloat;
  const auto logits_NE = ops::linear(x_NC.to(dtype), gate->weight.to(dtype));
  const auto routes = ops::moe_gate(logits_NE, gate->e_score_correction_bias, rule, chosen);
  auto weights_NK = routes.weights_NK;
  if (routing != nullptr) {
    if (routing->experts.size() <= at) routing->experts.resize(at + 1);
    routing->experts[at] = routes.experts_NK;
    if (routing->balance_weight > 0) {
      TORCH_CHECK(pass.layout != nullptr, "the balance loss is of packed sequences");
      const auto balance = ops::sequence_balance(routes.shares_NE, routes.experts_NK, *pass.layout);
      if (routing->balance.size() <= at) routing->balance.resize(at + 1);
      routing->balance[at] = balance.detach();
      weights_NK = ops::attach_loss(weights_NK, balance * routing->balance_weight);
    }
  }
  const auto routed_NC = ranks.dealt() ? exchanged_experts(x_NC, routes.experts_NK, weights_NK, rule.num_experts, matrices(), leaves(), ranks)
                                       : ops::expert_mlp(x_NC, routes.experts_NK, weights_NK, matrices());
  return shared_experts.is_empty() ? routed_NC : routed_NC + shared_experts->forward(x_NC);
}

}  // namespace r1::model
