#include <algorithm>

#include "device.h"
#include "device_call.h"
#include "kernels/linear_logprob/linear_logprob_cuda.h"
#include "reference.h"

namespace r1::ops::device {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

constexpr int64_t kGradientBytes = 256 << 20;  // of the logits' gradient that exists at a time
constexpr int64_t kTile = 128;                 // columns of a block's tile

struct LinearLogprobFunction : Function<LinearLogprobFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N,
                             double inv_temperature) {
    const int64_t N = h_NC.size(0), C = h_NC.size(1), V = w_VC.size(0);
    const auto options = h_NC.options().dtype(at::kFloat);
    auto logprobs_N = torch::empty({N}, options), lse_N = torch::empty({N}, options), entropy_N = torch::empty({N}, options);
    auto partial = torch::empty({kernels::cuda::linear_logprob_partial_floats(N)}, options);
    {
      const Call call("linear_logprob", h_NC);
      kernels::cuda::linear_logprob_forward(N, C, V, call.read<Bf16>(h_NC), call.read<Bf16>(w_VC), call.read<int64_t>(targets_N),
                                            static_cast<float>(inv_temperature), call.write<float>(logprobs_N),
                                            call.write<float>(lse_N), call.write<float>(entropy_N), call.scratch<float>(partial),
                                            call.stream());
    }
    ctx->save_for_backward({h_NC, w_VC, targets_N, lse_N});
    ctx->saved_data["inv_temperature"] = inv_temperature;
    ctx->mark_non_differentiable({entropy_N});
    return {logprobs_N, entropy_N};
  }

  // dh = sum over pieces of V of dlogits w[piece], dw[piece] = dlogits^T h: the pieces' dh are added in float32.
  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &h_NC = saved[0], &w_VC = saved[1], &targets_N = saved[2], &lse_N = saved[3];
    const auto grad_N = grads[0].contiguous();
    const auto scale = static_cast<float>(ctx->saved_data["inv_temperature"].toDouble());
    const int64_t N = h_NC.size(0), C = h_NC.size(1), V = w_VC.size(0);
    const int64_t fitting = kGradientBytes / (2 * std::max<int64_t>(N, 1)) / kTile * kTile;
    const int64_t piece = std::min(V, std::max(kTile, fitting));
    auto dh_NC = torch::zeros({N, C}, lse_N.options());
    auto dw_VC = ctx->needs_input_grad(1) ? torch::empty_like(w_VC) : Tensor();
    for (int64_t first = 0; first < V; first += piece) {
      const int64_t columns = std::min(piece, V - first);
      auto dlogits = torch::empty({N, columns}, h_NC.options());
      {
        const Call call("linear_logprob backward", h_NC);
        kernels::cuda::linear_logprob_dlogits(N, C, V, call.read<Bf16>(h_NC), call.read<Bf16>(w_VC), call.read<int64_t>(targets_N),
                                              scale, call.read<float>(lse_N), call.read<float>(grad_N), first, columns,
                                              call.write<Bf16>(dlogits), call.stream());
      }
      dh_NC += dlogits.matmul(w_VC.narrow(0, first, columns));
      if (dw_VC.defined()) {
        auto rows = dw_VC.narrow(0, first, columns);
        at::mm_out(rows, dlogits.t(), h_NC);
      }
    }
    return {dh_NC.to(h_NC.scalar_type()), dw_VC, Tensor(), Tensor()};
  }
};

}  // namespace

std::tuple<Tensor, Tensor> linear_logprob(const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N, double inv_temperature) {
  if (h_NC.scalar_type() != at::kBFloat16 || h_NC.size(1) % 8 != 0) {
    auto [logprobs_N, entropy_N] = ref::linear_logprob(h_NC, w_VC, targets_N, inv_temperature);
    return {logprobs_N.to(at::kFloat), entropy_N.to(at::kFloat)};
  }
  const auto out = LinearLogprobFunction::apply(h_NC.contiguous(), w_VC.contiguous(), targets_N.contiguous(), inv_temperature);
  return {out[0], out[1]};
}

}  // namespace r1::ops::device
