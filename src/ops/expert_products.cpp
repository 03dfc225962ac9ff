#include "expert_products.h"

#include "device_call.h"
#include "kernels/grouped_gemm/grouped_gemm_cuda.h"
#include "kernels/moe/moe_cuda.h"
#include "kernels/rows/rows_cuda.h"

namespace r1::ops::device {

using torch::Tensor;

namespace {

// Mean rows of an expert from which the library's products are taken (docs/kernels/moe_cuda.md).
constexpr int64_t kLibraryRows = 64;

kernels::cuda::ExpertRows rows_of(const ExpertOrder& o, const Call& call) { return {o.M(), o.E, call.read<int32_t>(o.offsets)}; }

}  // namespace

ExpertOrder order_by_expert(const Tensor& experts_NK, int64_t E) {
  ExpertOrder o{experts_NK.size(0), experts_NK.size(1), E, {}, {}, {}};
  const auto ints = experts_NK.options().dtype(at::kInt);
  o.offsets = torch::empty({E + 1}, ints);
  o.pairs_M = torch::empty({o.M()}, ints);
  o.places_M = torch::empty({o.M()}, ints);
  auto scratch = torch::empty({kernels::cuda::order_scratch_ints(o.M(), E)}, ints);
  const Call call("order_by_expert", experts_NK);
  kernels::cuda::order_by_expert(
      o.M(), E, call.read<int64_t>(experts_NK),
      {call.write<int32_t>(o.offsets), call.write<int32_t>(o.pairs_M), call.write<int32_t>(o.places_M)},
      call.scratch<int32_t>(scratch), call.stream());
  return o;
}

Tensor permuted(const ExpertOrder& o, const Tensor& x_NC) {
  const int64_t C = x_NC.size(1);
  auto rows_MC = torch::empty({o.M(), C}, x_NC.options());
  const Call call("permute_rows", x_NC);
  kernels::cuda::permute_rows<Bf16>(o.N, o.K, C, call.read<Bf16>(x_NC), call.read<int32_t>(o.pairs_M), call.write<Bf16>(rows_MC),
                                    call.stream());
  return rows_MC;
}

Tensor unpermuted(const ExpertOrder& o, const Tensor& rows_MC, const Tensor& weights_NK) {
  const int64_t C = rows_MC.size(1);
  auto y_NC = torch::empty({o.N, C}, rows_MC.options());
  const Call call("unpermute_rows", rows_MC);
  kernels::cuda::unpermute_rows<Bf16>(o.N, o.K, C, call.read<Bf16>(rows_MC), call.read<int32_t>(o.places_M),
                                      call.read<float>(weights_NK), call.write<Bf16>(y_NC), call.stream());
  return y_NC;
}

bool library_is_faster(const ExpertOrder& o, const Tensor& x) {
  const int capability = compute_capability(x);
  return (capability == 90 || capability == 100) && o.M() >= kLibraryRows * o.E;
}

Tensor grouped_product(const ExpertOrder& o, bool library, const Tensor& x_MI, const Tensor& w_EOI) {
  if (library) return at::_grouped_mm(x_MI, w_EOI.transpose(1, 2), o.ends());
  const int64_t O = w_EOI.size(1), I = w_EOI.size(2);
  auto y_MO = torch::empty({o.M(), O}, x_MI.options());
  const Call call("grouped_product", x_MI);
  kernels::cuda::grouped_product(rows_of(o, call), I, O, call.read<Bf16>(x_MI), call.read<Bf16>(w_EOI), call.write<Bf16>(y_MO),
                                 call.stream());
  return y_MO;
}

Tensor grouped_transposed(const ExpertOrder& o, bool library, const Tensor& dy_MO, const Tensor& w_EOI) {
  if (library) return at::_grouped_mm(dy_MO, w_EOI, o.ends());
  const int64_t O = w_EOI.size(1), I = w_EOI.size(2);
  auto dx_MI = torch::empty({o.M(), I}, dy_MO.options());
  const Call call("grouped_product_transposed", dy_MO);
  kernels::cuda::grouped_product_transposed(rows_of(o, call), I, O, call.read<Bf16>(dy_MO), call.read<Bf16>(w_EOI),
                                            call.write<Bf16>(dx_MI), call.stream());
  return dx_MI;
}

Tensor grouped_outer(const ExpertOrder& o, bool library, const Tensor& dy_MO, const Tensor& x_MI) {
  if (library) return at::_grouped_mm(dy_MO.transpose(0, 1), x_MI, o.ends());
  const int64_t O = dy_MO.size(1), I = x_MI.size(1);
  auto dw_EOI = torch::empty({o.E, O, I}, x_MI.options());
  const Call call("grouped_outer", x_MI);
  kernels::cuda::grouped_outer(rows_of(o, call), I, O, call.read<Bf16>(dy_MO), call.read<Bf16>(x_MI), /*accumulate=*/false,
                               call.write<Bf16>(dw_EOI), call.stream());
  return dw_EOI;
}

ExpertHidden expert_swiglu(const ExpertOrder& o, bool library, bool keep, const Tensor& x_NC, const Tensor& w_E2FC) {
  const int64_t F = w_E2FC.size(1) / 2, C = x_NC.size(1);
  auto h_MF = torch::empty({o.M(), F}, x_NC.options());
  Tensor gate_up_M2F;
  if (library) {
    gate_up_M2F = grouped_product(o, true, permuted(o, x_NC), w_E2FC);
    const Call call("silu_mul", x_NC);
    const auto* gate = call.read<Bf16>(gate_up_M2F);
    kernels::cuda::silu_mul_forward<Bf16>(o.M(), F, gate, gate + F, 2 * F, call.write<Bf16>(h_MF), call.stream());
  } else {
    if (keep) gate_up_M2F = torch::empty({o.M(), 2 * F}, x_NC.options());
    const Call call("grouped_swiglu", x_NC);
    kernels::cuda::grouped_swiglu(rows_of(o, call), C, F, call.read<Bf16>(x_NC), call.read<int32_t>(o.pairs_M), o.K,
                                  call.read<Bf16>(w_E2FC), call.write<Bf16>(gate_up_M2F), call.write<Bf16>(h_MF), call.stream());
  }
  return {h_MF, keep ? gate_up_M2F : Tensor()};
}

ExpertHiddenGradients expert_silu_mul_backward(const ExpertOrder& o, const Tensor& gate_up_M2F, const Tensor& weights_NK,
                                               const Tensor& g_MF) {
  ExpertHiddenGradients out{torch::empty_like(gate_up_M2F), torch::empty_like(weights_NK)};
  const Call call("expert_silu_mul backward", g_MF);
  auto* g = call.update<Bf16>(g_MF);
  kernels::cuda::expert_silu_mul_backward<Bf16>(o.M(), g_MF.size(1), call.read<Bf16>(gate_up_M2F), g, call.read<int32_t>(o.pairs_M),
                                                call.read<float>(weights_NK), call.write<Bf16>(out.dgate_up_M2F), g,
                                                call.write<float>(out.dweights_NK), call.stream());
  return out;
}

}  // namespace r1::ops::device
