// The two forms of latent attention are one sum: in float64 nothing but its order tells them apart.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "r1/model/layers.h"
#include "r1/ops/ops.h"
#include "support/compare.h"

namespace r1::model {
namespace {

using test::relative_error;
using torch::Tensor;

constexpr double kScale = 0.21;

ModelConfig latent_config(int64_t q_lora_rank, bool interleaved) {
  ModelConfig c;
  c.hidden_size = 24;
  c.num_heads = c.num_kv_heads = 4;
  c.q_lora_rank = q_lora_rank;
  c.kv_lora_rank = 12;
  c.qk_nope_head_dim = 8;
  c.v_head_dim = 6;
  c.qk_rope_head_dim = c.head_dim = 4;
  c.rope_interleave = interleaved;
  return c;
}

// A prompt that two continuations share, and a sequence of its own.
std::shared_ptr<const ops::PackedLayout> layout() {
  auto l = std::make_shared<ops::PackedLayout>();
  const auto prompt = l->add_sequence(7);
  l->add_continuation(prompt, 5);
  l->add_continuation(prompt, 3);
  l->add_sequence(4);
  l->finish();
  return l;
}

struct Result {
  int64_t keys = 0;  // heads of the keys that were attended to
  Tensor out_NC, dx_NC;
  std::vector<std::pair<std::string, Tensor>> gradients;
};

Result run(LatentAttentionImpl& attention, const Tensor& x_NC, const Tensor& dout_NC, bool expanded) {
  Result r;
  BlockPass pass;
  pass.layout = layout();
  pass.positions_N = pass.layout->positions_N;
  const auto angle_PD2 = torch::arange(16, torch::kDouble).unsqueeze(1) * torch::tensor({{1.0, 0.3}}, torch::kDouble);
  pass.cos_PD2 = angle_PD2.cos();
  pass.sin_PD2 = angle_PD2.sin();
  pass.expand_latents = expanded;
  pass.attend = [&](int64_t, const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD) {
    r.keys = k_NhD.size(1);
    return ops::attention(q_NHD, k_NhD, v_NhD, *pass.layout, kScale);
  };
  attention.zero_grad();
  const auto x = x_NC.detach().clone().requires_grad_();
  r.out_NC = attention.forward(x, pass);
  r.out_NC.backward(dout_NC);
  r.dx_NC = x.grad();
  for (const auto& item : attention.named_parameters()) r.gradients.emplace_back(item.key(), item.value().grad().clone());
  return r;
}

TEST(LatentAttention, ExpandedAndAbsorbedFormAreOneSum) {
  torch::manual_seed(11);
  for (const int64_t q_lora_rank : {0, 10}) {
    for (const bool interleaved : {false, true}) {
      const auto config = latent_config(q_lora_rank, interleaved);
      LatentAttentionImpl attention(config, 0, torch::TensorOptions().dtype(torch::kDouble));
      {
        const torch::NoGradGuard no_grad;
        for (auto& p : attention.parameters()) p.copy_(torch::randn_like(p) * 0.5 + (p.dim() == 1 ? 1.0 : 0.0));
      }
      const int64_t N = layout()->num_rows;
      const auto x_NC = torch::randn({N, config.hidden_size}, torch::kDouble), dout_NC = torch::randn_like(x_NC);
      const auto absorbed = run(attention, x_NC, dout_NC, false), expanded = run(attention, x_NC, dout_NC, true);
      EXPECT_EQ(absorbed.keys, 1);
      EXPECT_EQ(expanded.keys, config.num_heads);
      EXPECT_LE(relative_error(expanded.out_NC, absorbed.out_NC), 1e-12);
      EXPECT_LE(relative_error(expanded.dx_NC, absorbed.dx_NC), 1e-10);
      ASSERT_EQ(expanded.gradients.size(), q_lora_rank == 0 ? 5U : 7U);
      for (size_t i = 0; i < expanded.gradients.size(); ++i) {
        EXPECT_GT(absorbed.gradients[i].second.abs().max().item<double>(), 0) << absorbed.gradients[i].first;
        EXPECT_LE(relative_error(expanded.gradients[i].second, absorbed.gradients[i].second), 1e-10) << expanded.gradients[i].first;
      }
    }
  }
}

}  // namespace
}  // namespace r1::model
