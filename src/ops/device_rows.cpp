#include "device.h"
#include "device_call.h"
#include "kernels/rows/rows_cuda.h"

namespace r1::ops::device {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

struct RmsNormFunction : Function<RmsNormFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w_C, double eps) {
    const int64_t C = w_C.numel(), N = x.numel() / C;
    auto y = torch::empty_like(x);
    auto rstd_N = torch::empty({N}, x.options().dtype(at::kFloat));
    dispatch("rms_norm", x, [&]<class T>(T) {
      const Call call("rms_norm", x);
      kernels::cuda::rms_norm_forward<T>(N, C, call.read<T>(x), nullptr, call.read<T>(w_C), static_cast<float>(eps), nullptr,
                                         call.write<T>(y), call.write<float>(rstd_N), call.stream());
    });
    ctx->save_for_backward({x, w_C, rstd_N});
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &w_C = saved[1], &rstd_N = saved[2];
    const auto dy = grads[0].contiguous();
    const int64_t C = w_C.numel(), N = x.numel() / C;
    auto dx = torch::empty_like(x);
    auto dw_C = torch::empty({C}, rstd_N.options());
    auto partial = torch::empty({kernels::cuda::rms_norm_partial_floats(N, C)}, rstd_N.options());
    dispatch("rms_norm", x, [&]<class T>(T) {
      const Call call("rms_norm backward", x);
      kernels::cuda::rms_norm_backward<T>(N, C, call.read<T>(x), call.read<T>(w_C), call.read<float>(rstd_N), call.read<T>(dy),
                                          nullptr, call.write<T>(dx), call.write<float>(dw_C), call.scratch<float>(partial),
                                          call.stream());
    });
    return {dx, dw_C.to(w_C.scalar_type()), Tensor()};
  }
};

struct SiluMulFunction : Function<SiluMulFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    ctx->save_for_backward({gate, up});
    const int64_t F = gate.size(-1), N = F == 0 ? 0 : gate.numel() / F;
    auto y = torch::empty_like(gate);
    dispatch("silu_mul", gate, [&]<class T>(T) {
      const Call call("silu_mul", gate);
      kernels::cuda::silu_mul_forward<T>(N, F, call.read<T>(gate), call.read<T>(up), F, call.write<T>(y), call.stream());
    });
    return y;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto &gate = saved[0], &up = saved[1];
    const auto dy = grads[0].contiguous();
    const int64_t F = gate.size(-1), N = F == 0 ? 0 : gate.numel() / F;
    auto dgate = torch::empty_like(gate), dup = torch::empty_like(up);
    dispatch("silu_mul", gate, [&]<class T>(T) {
      const Call call("silu_mul backward", gate);
      kernels::cuda::silu_mul_backward<T>(N, F, call.read<T>(gate), call.read<T>(up), F, call.read<T>(dy), call.write<T>(dgate),
                                          call.write<T>(dup), call.stream());
    });
    return {dgate, dup};
  }
};

Tensor rotate(const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos_PD2, const Tensor& sin_PD2, float direction) {
  auto y_NHD = torch::empty_like(x_NHD);
  dispatch("rope", x_NHD, [&]<class T>(T) {
    const Call call("rope", x_NHD);
    kernels::cuda::rope<T>(x_NHD.size(0), x_NHD.size(1), x_NHD.size(2), call.read<T>(x_NHD), call.read<int64_t>(positions_N),
                           call.read<float>(cos_PD2), call.read<float>(sin_PD2), direction, call.write<T>(y_NHD), call.stream());
  });
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

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& w_C, double eps) { return RmsNormFunction::apply(x.contiguous(), w_C.contiguous(), eps); }

Tensor silu_mul(const Tensor& gate, const Tensor& up) { return SiluMulFunction::apply(gate.contiguous(), up.contiguous()); }

Tensor rope(const Tensor& x_NHD, const Tensor& positions_N, const Tensor& cos_PD2, const Tensor& sin_PD2) {
  return RopeFunction::apply(x_NHD.contiguous(), positions_N.contiguous(), cos_PD2, sin_PD2);
}

}  // namespace r1::ops::device
