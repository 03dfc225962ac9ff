#include "reference.h"

namespace r1::ops::ref {

using torch::Tensor;

Tensor linear(const Tensor& x_NC, const Tensor& w_OC, const Tensor& bias_O) {
  auto y = x_NC.matmul(w_OC.t());
  return bias_O.defined() ? y + bias_O : y;
}

Tensor rms_norm(const Tensor& x, const Tensor& w_C, double eps) {
  return x * torch::rsqrt(x.square().mean(-1, true) + eps) * w_C;
}

Tensor silu_mul(const Tensor& gate, const Tensor& up) { return torch::silu(gate) * up; }

Tensor rope(const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos_PD2, const Tensor& sin_PD2) {
  const auto cos = cos_PD2.index_select(0, positions_N).unsqueeze(1);
  const auto sin = sin_PD2.index_select(0, positions_N).unsqueeze(1);
  const auto halves = x_NHD.chunk(2, -1);
  return torch::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1).to(x_NHD.scalar_type());
}

Tensor attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, const PackedLayout& layout,
                 double scale) {
  const int64_t group = q_NHD.size(1) / k_NhD.size(1);
  std::vector<Tensor> outputs;
  for (const auto& s : layout.segments) {
    if (s.num_rows == 0) continue;
    const auto keys_of = [&](const Tensor& x) {
      auto own = x.narrow(0, s.first_row, s.num_rows);
      if (s.first_position > 0) own = torch::cat({x.narrow(0, s.prefix_row, s.first_position), own});
      return own.repeat_interleave(group, 1).transpose(0, 1);  // [H, S, D]
    };
    const auto q_HTD = q_NHD.narrow(0, s.first_row, s.num_rows).transpose(0, 1);
    auto scores = q_HTD.matmul(keys_of(k_NhD).transpose(1, 2)) * scale;
    const int64_t length = s.first_position + s.num_rows;
    const auto later = torch::ones({s.num_rows, length}, scores.options().dtype(torch::kBool)).triu(s.first_position + 1);
    scores = scores.masked_fill(later, -std::numeric_limits<double>::infinity());
    outputs.push_back(scores.softmax(-1).matmul(keys_of(v_NhD)).transpose(0, 1));
  }
  return outputs.empty() ? torch::zeros({q_NHD.size(0), q_NHD.size(1), v_NhD.size(2)}, q_NHD.options().requires_grad(false)) : torch::cat(outputs);
}

Tensor embedding(const Tensor& tokens_N, const Tensor& w_VC) { return w_VC.index_select(0, tokens_N); }

std::tuple<Tensor, Tensor> linear_logprob(const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N,
                                          double inv_temperature) {
  const auto z = h_NC.matmul(w_VC.t()) * inv_temperature;
  const auto lse = z.logsumexp(-1);
  const auto entropy = lse.detach() - (z.detach().softmax(-1) * z.detach()).sum(-1);
  return {z.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1) - lse, entropy};
}

Routes moe_gate(const Tensor& logits_NE, const Tensor& bias_E, const GateRule& rule, const Tensor& chosen_NK) {
  const auto scores_NE = rule.sigmoid ? logits_NE.sigmoid() : logits_NE.softmax(-1);
  const int64_t N = logits_NE.size(0), G = rule.num_groups, width = rule.num_experts / G;
  const auto first = [](const Tensor& x, int64_t count) {  // by falling value, equal ones by index
    return std::get<1>(x.sort(/*stable=*/true, -1, /*descending=*/true)).narrow(-1, 0, count);
  };
  auto experts_NK = chosen_NK;
  if (!experts_NK.defined()) {
    auto biased = scores_NE.detach();
    if (bias_E.defined()) biased = biased + bias_E;
    if (rule.groups_kept < G) {
      const auto grouped = biased.view({N, G, width});
      const auto top = std::get<0>(grouped.topk(rule.group_by_top_two ? 2 : 1, -1)).sum(-1);
      const auto kept = torch::zeros({N, G}, biased.options().dtype(torch::kBool)).scatter(1, first(top, rule.groups_kept), true);
      biased = grouped.masked_fill(~kept.unsqueeze(-1), -std::numeric_limits<double>::infinity()).view({N, rule.num_experts});
    }
    experts_NK = first(biased, rule.experts_per_token);
  }
  auto weights_NK = scores_NE.gather(1, experts_NK);
  if (rule.normalize) weights_NK = weights_NK / (weights_NK.sum(-1, true) + 1e-20);
  return {experts_NK, weights_NK * rule.scale, scores_NE / (scores_NE.sum(-1, true) + 1e-20)};
}

Tensor expert_mlp(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK, const std::vector<ExpertWeights>& experts) {
  if (x_NC.size(0) == 0) return x_NC.clone();
  auto y_NC = torch::zeros_like(x_NC);
  for (size_t e = 0; e < experts.size(); ++e) {
    const auto chosen = (experts_NK == static_cast<int64_t>(e)).nonzero();
    if (chosen.size(0) == 0) continue;
    const auto rows = chosen.select(1, 0);
    const auto& m = experts[e];
    const auto x = x_NC.index_select(0, rows);
    const auto out = ref::linear(ref::silu_mul(ref::linear(x, m.gate_FC, {}), ref::linear(x, m.up_FC, {})), m.down_CF, {});
    const auto w = weights_NK.index({rows, chosen.select(1, 1)}).unsqueeze(-1);
    y_NC = y_NC.index_add(0, rows, (w * out).to(y_NC.scalar_type()));
  }
  return y_NC;
}

Tensor head_product(const Tensor& x_NHI, const Tensor& w_HIO) { return x_NHI.transpose(0, 1).matmul(w_HIO).transpose(0, 1); }

}  // namespace r1::ops::ref
