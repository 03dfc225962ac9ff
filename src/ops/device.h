#pragma once
#include <torch/torch.h>

#include <tuple>
#include <vector>

#include "r1/ops/cache.h"
#include "r1/ops/moe.h"
#include "r1/ops/packed.h"
#include "r1/ops/sampling.h"

namespace r1::ops {
std::shared_ptr<DevicePlans> make_device_plans();  ///< null without CUDA
}

// The operations on a device, by our CUDA kernels and cuBLAS. An operation of r1/ops asks in one line:
//
//   if (device::on_device(x)) return device::rms_norm(x, w_C, eps);
//
// Definitions: device_<op>.cpp, over the raw-pointer launchers of kernels/*/*_cuda.h. They include no CUDA header:
// device_call.h is their only door to it. Three programs link them:
//   with CUDA      device_cuda.cpp opens the door to the GPU of the tensors
//   without CUDA   device_none.cpp takes the place of all of them, and no tensor is on a device
//   tests          tests/support/emulated_device.cpp opens it to the emulator, for tensors of the CPU
// An operation added here is declared below, defined in a device_<op>.cpp, and gets a line in device_none.cpp.
//
// dtypes: activations and weights bf16 (or float32); sums, row statistics, log-probabilities and the cosine tables float32.
// Each function does what its namesake in r1/ops does, in the dtype of its input, and is differentiable.
namespace r1::ops::device {

/// Whether x lies on a device in a dtype that its kernels compute in: bf16 or float32. Others run the plain twin.
bool on_device(const torch::Tensor& x);

/// cuBLAS; the bias is added before rounding. Sums in float32.
torch::Tensor linear(const torch::Tensor& x_NC, const torch::Tensor& w_OC, const torch::Tensor& bias_O);

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& w_C, double eps);
torch::Tensor silu_mul(const torch::Tensor& gate, const torch::Tensor& up);
/// cos_PD2 and sin_PD2 are float32.
torch::Tensor rope(const torch::Tensor& x_NHD, const torch::Tensor& positions_N, const torch::Tensor& cos_PD2,
                   const torch::Tensor& sin_PD2);

/// The gradient is ATen's sorted sum: the same bits every time, unlike index_select's own.
torch::Tensor embedding(const torch::Tensor& tokens_N, const torch::Tensor& w_VC);

/// v_NhV [N, Hkv, V], also of another width than the keys. float32, and widths that attention_cuda.h lacks, run the plain twin
/// in float32.
torch::Tensor attention(const torch::Tensor& q_NHD, const torch::Tensor& k_NhD, const torch::Tensor& v_NhV, const PackedLayout& layout,
                        double scale);

/// Both results are float32. A target outside the vocabulary makes its log-probability NaN: looking would wait for the
/// device. float32 inputs, and widths that are no multiple of 8, run the plain twin.
std::tuple<torch::Tensor, torch::Tensor> linear_logprob(const torch::Tensor& h_NC, const torch::Tensor& w_VC,
                                                        const torch::Tensor& targets_N, double inv_temperature);

/// Scores, weights and shares in float32.
Routes moe_gate(const torch::Tensor& logits_NE, const torch::Tensor& bias_E, const GateRule& rule, const torch::Tensor& chosen_NK);

/// Without copies if the matrices are parts of a stack (stack_experts). float32, and widths that are no multiple of 8, run the
/// plain twin.
torch::Tensor expert_mlp(const torch::Tensor& x_NC, const torch::Tensor& experts_NK, const torch::Tensor& weights_NK,
                         const std::vector<ExpertWeights>& experts);

/// Whether the kernels attend over the store's shape and dtype: bf16, head_dim and value_dim multiples of 8, up to 128, or of a latent
/// up to 576 and 512.
bool has_paged_attention(const KvStore& store);
/// Of a store that is for a device.
torch::Tensor cached_attention(const torch::Tensor& q_NHD, const torch::Tensor& k_NhD, const torch::Tensor& v_NhD, KvStore& store,
                               const DeviceRuns& runs, double scale);

/// Waits for the device: the tokens are wanted on the host.
SampledTokens sample_tokens(const torch::Tensor& logits_RV, const std::vector<int64_t>& row_of, const std::vector<double>& uniforms,
                            const SamplingRule& rule);

}  // namespace r1::ops::device
