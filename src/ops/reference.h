#pragma once
#include <torch/torch.h>

#include "r1/ops/moe.h"
#include "r1/ops/packed.h"

/// The plain ATen twins: what each operation computes, on any device and dtype, differentiated by autograd.
namespace r1::ops::ref {

torch::Tensor linear(const torch::Tensor& x_NC, const torch::Tensor& w_OC, const torch::Tensor& bias_O);
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& w_C, double eps);
torch::Tensor silu_mul(const torch::Tensor& gate, const torch::Tensor& up);
torch::Tensor rope(const torch::Tensor& x_NHD, const torch::Tensor& positions_N, const torch::Tensor& cos_PD2,
                   const torch::Tensor& sin_PD2);
torch::Tensor attention(const torch::Tensor& q_NHD, const torch::Tensor& k_NhD, const torch::Tensor& v_NhD,
                        const PackedLayout& layout, double scale);
torch::Tensor embedding(const torch::Tensor& tokens_N, const torch::Tensor& w_VC);
std::tuple<torch::Tensor, torch::Tensor> linear_logprob(const torch::Tensor& h_NC, const torch::Tensor& w_VC,
                                                        const torch::Tensor& targets_N, double inv_temperature);
Routes moe_gate(const torch::Tensor& logits_NE, const torch::Tensor& bias_E, const GateRule& rule, const torch::Tensor& chosen_NK);
torch::Tensor expert_mlp(const torch::Tensor& x_NC, const torch::Tensor& experts_NK, const torch::Tensor& weights_NK,
                         const std::vector<ExpertWeights>& experts);
torch::Tensor head_product(const torch::Tensor& x_NHI, const torch::Tensor& w_HIO);

}  // namespace r1::ops::ref
