#include "device.h"

namespace r1::ops::device {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

struct EmbeddingFunction : Function<EmbeddingFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& tokens_N, const Tensor& w_VC) {
    ctx->save_for_backward({tokens_N});
    ctx->saved_data["rows"] = w_VC.size(0);
    return w_VC.index_select(0, tokens_N);
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const auto tokens_N = ctx->get_saved_variables()[0];
    return {Tensor(), at::embedding_dense_backward(grads[0].contiguous(), tokens_N, ctx->saved_data["rows"].toInt(),
                                                   /*padding_idx=*/-1, /*scale_grad_by_freq=*/false)};
  }
};

}  // namespace

Tensor linear(const Tensor& x_NC, const Tensor& w_OC, const Tensor& bias_O) { return torch::linear(x_NC, w_OC, bias_O); }

Tensor embedding(const Tensor& tokens_N, const Tensor& w_VC) { return EmbeddingFunction::apply(tokens_N, w_VC); }

}  // namespace r1::ops::device
