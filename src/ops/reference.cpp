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
  return torch::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
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
  return outputs.empty() ? torch::zeros_like(q_NHD) : torch::cat(outputs);
}

Tensor embedding(const Tensor& tokens_N, const Tensor& w_VC) { return w_VC.index_select(0, tokens_N); }

std::tuple<Tensor, Tensor> linear_logprob(const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N,
                                          double inv_temperature) {
  const auto z = h_NC.matmul(w_VC.t()) * inv_temperature;
  const auto lse = z.logsumexp(-1);
  const auto entropy = lse.detach() - (z.detach().softmax(-1) * z.detach()).sum(-1);
  return {z.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1) - lse, entropy};
}

}  // namespace r1::ops::ref
