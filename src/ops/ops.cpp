#include "r1/ops/ops.h"

#include <torch/torch.h>

#include "device.h"
#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "kernels/rows/rows.h"
#include "reference.h"

namespace r1::ops {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

bool on_cpu_float32(const Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat; }
const float* ptr(const Tensor& x) { return x.data_ptr<float>(); }
float* out_ptr(const Tensor& x) { return x.mutable_data_ptr<float>(); }

Tensor sum_rows(const Tensor& x_NO) { return x_NO.sum(0); }

struct LinearFunction : Function<LinearFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& w_OC,
                        const std::optional<Tensor>& bias) {
    ctx->save_for_backward({x_NC, w_OC});
    const Tensor bias_O = bias.value_or(Tensor());
    ctx->saved_data["bias"] = bias_O.defined();
    const int64_t N = x_NC.size(0), C = x_NC.size(1), O = w_OC.size(0);
    auto y_NO = torch::empty({N, O}, x_NC.options());
    if (bias_O.defined()) y_NO.copy_(bias_O.expand({N, O}));  // the chain starts from the bias
    kernels::gemm(N, O, C, kernels::row_major(ptr(x_NC), C), kernels::transposed(ptr(w_OC), C), out_ptr(y_NO), O,
                  bias_O.defined());
    return y_NO;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &x_NC = saved[0], &w_OC = saved[1];
    const auto dy_NO = grads[0].contiguous();
    const int64_t N = x_NC.size(0), C = x_NC.size(1), O = w_OC.size(0);
    Tensor dx_NC, dw_OC, db_O;
    if (ctx->needs_input_grad(0)) {
      dx_NC = torch::empty_like(x_NC);
      kernels::gemm(N, C, O, kernels::row_major(ptr(dy_NO), O), kernels::row_major(ptr(w_OC), C), out_ptr(dx_NC), C);
    }
    if (ctx->needs_input_grad(1)) {
      dw_OC = torch::empty_like(w_OC);
      kernels::gemm(O, C, N, kernels::transposed(ptr(dy_NO), O), kernels::row_major(ptr(x_NC), C), out_ptr(dw_OC), C);
    }
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) db_O = sum_rows(dy_NO);
    return {dx_NC, dw_OC, db_O};
  }
};

// Heads in parallel, or the products inside when one head is enough work.
struct HeadProductFunction : Function<HeadProductFunction> {
  static kernels::MatrixView of_head(const Tensor& w_HIO, int64_t h) {
    return {ptr(w_HIO) + h * w_HIO.stride(0), w_HIO.stride(1), w_HIO.stride(2)};
  }
  static kernels::MatrixView turned(kernels::MatrixView m) { return {m.data, m.col_stride, m.row_stride}; }

  static Tensor forward(AutogradContext* ctx, const Tensor& x_NHI, const Tensor& w_HIO) {
    ctx->save_for_backward({x_NHI, w_HIO});
    const int64_t N = x_NHI.size(0), H = x_NHI.size(1), I = x_NHI.size(2), O = w_HIO.size(2);
    auto y_NHO = torch::empty({N, H, O}, x_NHI.options());
    for_heads(H, N * I * O, [&](int64_t h) {
      kernels::gemm(N, O, I, {ptr(x_NHI) + h * I, H * I, 1}, of_head(w_HIO, h), out_ptr(y_NHO) + h * O, H * O);
    });
    return y_NHO;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &x_NHI = saved[0], &w_HIO = saved[1];
    const auto dy_NHO = grads[0].contiguous();
    const int64_t N = x_NHI.size(0), H = x_NHI.size(1), I = x_NHI.size(2), O = w_HIO.size(2);
    auto dx_NHI = torch::empty_like(x_NHI), dw_HIO = torch::empty({H, I, O}, x_NHI.options());
    for_heads(H, N * I * O, [&](int64_t h) {
      const kernels::MatrixView dy{ptr(dy_NHO) + h * O, H * O, 1}, x{ptr(x_NHI) + h * I, H * I, 1};
      kernels::gemm(N, I, O, dy, turned(of_head(w_HIO, h)), out_ptr(dx_NHI) + h * I, H * I);
      kernels::gemm(I, O, N, turned(x), dy, out_ptr(dw_HIO) + h * I * O, O);
    });
    return {dx_NHI, dw_HIO};
  }

  template <typename Fn>
  static void for_heads(int64_t H, int64_t work, const Fn& fn) {
    if (H * work >= 100'000 && H >= kernels::num_threads()) return kernels::parallel_for(H, fn);
    for (int64_t h = 0; h < H; ++h) fn(h);
  }
};

struct RmsNormFunction : Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w_C, double eps) {
    const int64_t C = w_C.numel(), N = x.numel() / C;
    auto y = torch::empty_like(x);
    auto rstd_N = torch::empty({N}, x.options());
    kernels::rms_norm_forward(N, C, ptr(x), ptr(w_C), static_cast<float>(eps), out_ptr(y), out_ptr(rstd_N));
    ctx->save_for_backward({x, w_C, rstd_N});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto dy = grads[0].contiguous();
    const int64_t C = saved[1].numel(), N = saved[0].numel() / C;
    auto dx = torch::empty_like(saved[0]), dw_C = torch::empty_like(saved[1]);
    kernels::rms_norm_backward(N, C, ptr(saved[0]), ptr(saved[1]), ptr(saved[2]), ptr(dy), out_ptr(dx), out_ptr(dw_C));
    return {dx, dw_C, Tensor()};
  }
};

struct SiluMulFunction : Function<SiluMulFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    ctx->save_for_backward({gate, up});
    auto y = torch::empty_like(gate);
    kernels::silu_mul_forward(gate.numel(), ptr(gate), ptr(up), out_ptr(y));
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto dy = grads[0].contiguous();
    auto dgate = torch::empty_like(saved[0]), dup = torch::empty_like(saved[1]);
    kernels::silu_mul_backward(dy.numel(), ptr(saved[0]), ptr(saved[1]), ptr(dy), out_ptr(dgate), out_ptr(dup));
    return {dgate, dup};
  }
};

Tensor rotate(const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos, const Tensor& sin, float direction) {
  auto y_NHD = torch::empty_like(x_NHD);
  kernels::rope(x_NHD.size(0), x_NHD.size(1), x_NHD.size(2), ptr(x_NHD), positions_N.data_ptr<int64_t>(), ptr(cos),
                ptr(sin), direction, out_ptr(y_NHD));
  return y_NHD;
}

struct RopeFunction : Function<RopeFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos_PD2,
                        const Tensor& sin_PD2) {
    ctx->save_for_backward({positions_N, cos_PD2, sin_PD2});
    return rotate(x_NHD, positions_N, cos_PD2, sin_PD2, 1.0f);
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    return {rotate(grads[0].contiguous(), saved[0], saved[1], saved[2], -1.0f), Tensor(), Tensor(), Tensor()};
  }
};

struct EmbeddingFunction : Function<EmbeddingFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& tokens_N, const Tensor& w_VC) {
    ctx->save_for_backward({tokens_N});
    ctx->saved_data["rows"] = w_VC.size(0);
    return w_VC.index_select(0, tokens_N);
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const auto tokens_N = ctx->get_saved_variables()[0];
    const auto dy_NC = grads[0].contiguous();
    const int64_t N = dy_NC.size(0), C = dy_NC.size(1);
    auto dw_VC = torch::zeros({ctx->saved_data["rows"].toInt(), C}, dy_NC.options());
    const auto* tokens = tokens_N.data_ptr<int64_t>();
    const float* dy = ptr(dy_NC);
    float* dw = out_ptr(dw_VC);
    for (int64_t n = 0; n < N; ++n) {
      float* row = dw + tokens[n] * C;
      for (int64_t c = 0; c < C; ++c) row[c] += dy[n * C + c];
    }
    return {Tensor(), dw_VC};
  }
};

// logits of rows [begin, begin + rows) into `logits`.
void chunk_logits(const Tensor& h_NC, const Tensor& w_VC, int64_t begin, int64_t rows, float* logits) {
  const int64_t C = h_NC.size(1), V = w_VC.size(0);
  kernels::gemm(rows, V, C, kernels::row_major(ptr(h_NC) + begin * C, C), kernels::transposed(ptr(w_VC), C), logits, V);
}

struct LinearLogprobFunction : Function<LinearLogprobFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N,
                             double inv_temperature, int64_t chunk_rows) {
    const int64_t N = h_NC.size(0), V = w_VC.size(0);
    const auto scale = static_cast<float>(inv_temperature);
    auto logprobs_N = torch::empty({N}, h_NC.options());
    auto entropy_N = torch::empty({N}, h_NC.options());
    auto lse_N = torch::empty({N}, h_NC.options());
    auto logits = torch::empty({std::min(N, chunk_rows), V}, h_NC.options());
    const auto* targets = targets_N.data_ptr<int64_t>();
    for (int64_t begin = 0; begin < N; begin += chunk_rows) {
      const int64_t rows = std::min(chunk_rows, N - begin);
      chunk_logits(h_NC, w_VC, begin, rows, out_ptr(logits));
      kernels::logsumexp(rows, V, ptr(logits), scale, out_ptr(lse_N) + begin, out_ptr(entropy_N) + begin);
      for (int64_t n = 0; n < rows; ++n) {
        TORCH_CHECK(targets[begin + n] >= 0 && targets[begin + n] < V, "linear_logprob: target ", targets[begin + n],
                    " is outside of the ", V, " entries of the vocabulary");
        out_ptr(logprobs_N)[begin + n] =
            ptr(logits)[n * V + targets[begin + n]] * scale - ptr(lse_N)[begin + n];
      }
    }
    ctx->save_for_backward({h_NC, w_VC, targets_N, lse_N});
    ctx->saved_data["inv_temperature"] = inv_temperature;
    ctx->saved_data["chunk_rows"] = chunk_rows;
    ctx->mark_non_differentiable({entropy_N});
    return {logprobs_N, entropy_N};
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &h_NC = saved[0], &w_VC = saved[1], &targets_N = saved[2], &lse_N = saved[3];
    const auto grad_N = grads[0].contiguous();
    const auto scale = static_cast<float>(ctx->saved_data["inv_temperature"].toDouble());
    const int64_t chunk_rows = ctx->saved_data["chunk_rows"].toInt();
    const int64_t N = h_NC.size(0), C = h_NC.size(1), V = w_VC.size(0);
    auto dh_NC = torch::empty_like(h_NC);
    auto dw_VC = ctx->needs_input_grad(1) ? (N > 0 ? torch::empty_like(w_VC) : torch::zeros_like(w_VC)) : Tensor();
    auto logits = torch::empty({std::min(N, chunk_rows), V}, h_NC.options());
    for (int64_t begin = 0; begin < N; begin += chunk_rows) {
      const int64_t rows = std::min(chunk_rows, N - begin);
      chunk_logits(h_NC, w_VC, begin, rows, out_ptr(logits));
      kernels::logprob_backward_(rows, V, out_ptr(logits), scale, ptr(lse_N) + begin,
                                 targets_N.data_ptr<int64_t>() + begin, ptr(grad_N) + begin);
      kernels::gemm(rows, C, V, kernels::row_major(ptr(logits), V), kernels::row_major(ptr(w_VC), C),
                    out_ptr(dh_NC) + begin * C, C);
      if (dw_VC.defined()) {
        kernels::gemm(V, C, rows, kernels::transposed(ptr(logits), V), kernels::row_major(ptr(h_NC) + begin * C, C),
                      out_ptr(dw_VC), C, begin > 0);
      }
    }
    return {dh_NC, dw_VC, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor linear(const Tensor& x_NC, const Tensor& w_OC, const Tensor& bias_O) {
  TORCH_CHECK(x_NC.dim() == 2 && w_OC.dim() == 2 && x_NC.size(1) == w_OC.size(1), "linear: x must be [N, C] and w [O, C], got ",
              x_NC.sizes(), " and ", w_OC.sizes());
  if (device::on_device(x_NC)) return device::linear(x_NC, w_OC, bias_O);
  if (!on_cpu_float32(x_NC)) return ref::linear(x_NC, w_OC, bias_O);
  return LinearFunction::apply(x_NC.contiguous(), w_OC.contiguous(),
                               bias_O.defined() ? std::optional<Tensor>(bias_O) : std::nullopt);
}

Tensor rms_norm(const Tensor& x, const Tensor& w_C, double eps) {
  TORCH_CHECK(x.size(-1) == w_C.numel(), "rms_norm: last dimension of x is ", x.size(-1), ", w has ", w_C.numel());
  if (device::on_device(x)) return device::rms_norm(x, w_C, eps);
  if (!on_cpu_float32(x)) return ref::rms_norm(x, w_C, eps);
  return RmsNormFunction::apply(x.contiguous(), w_C, eps);
}

Tensor silu_mul(const Tensor& gate, const Tensor& up) {
  if (device::on_device(gate)) return device::silu_mul(gate, up);
  if (!on_cpu_float32(gate)) return ref::silu_mul(gate, up);
  return SiluMulFunction::apply(gate.contiguous(), up.contiguous());
}

Tensor rope(const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos_PD2, const Tensor& sin_PD2) {
  if (device::on_device(x_NHD)) return device::rope(x_NHD, positions_N, cos_PD2, sin_PD2);
  if (!on_cpu_float32(x_NHD)) return ref::rope(x_NHD, positions_N, cos_PD2, sin_PD2);
  return RopeFunction::apply(x_NHD.contiguous(), positions_N, cos_PD2, sin_PD2);
}

Tensor head_product(const Tensor& x_NHI, const Tensor& w_HIO) {
  TORCH_CHECK(x_NHI.dim() == 3 && w_HIO.dim() == 3 && x_NHI.size(1) == w_HIO.size(0) && x_NHI.size(2) == w_HIO.size(1),
              "head_product: x must be [N, H, I] and w [H, I, O], got ", x_NHI.sizes(), " and ", w_HIO.sizes());
  if (!on_cpu_float32(x_NHI)) return ref::head_product(x_NHI, w_HIO);
  return HeadProductFunction::apply(x_NHI.contiguous(), w_HIO);
}

Tensor embedding(const Tensor& tokens_N, const Tensor& w_VC) {
  if (device::on_device(w_VC)) return device::embedding(tokens_N, w_VC);
  if (!on_cpu_float32(w_VC)) return ref::embedding(tokens_N, w_VC);
  return EmbeddingFunction::apply(tokens_N, w_VC);
}

std::tuple<Tensor, Tensor> linear_logprob(const Tensor& h_NC, const Tensor& w_VC, const Tensor& targets_N,
                                          double inv_temperature, int64_t chunk_rows) {
  TORCH_CHECK(h_NC.size(0) == targets_N.size(0), "linear_logprob: ", h_NC.size(0), " rows, ", targets_N.size(0), " targets");
  if (device::on_device(h_NC)) return device::linear_logprob(h_NC, w_VC, targets_N, inv_temperature);
  if (!on_cpu_float32(h_NC)) return ref::linear_logprob(h_NC, w_VC, targets_N, inv_temperature);
  const auto out = LinearLogprobFunction::apply(h_NC.contiguous(), w_VC, targets_N.contiguous(), inv_temperature, chunk_rows);
  return {out[0], out[1]};
}

}  // namespace r1::ops
