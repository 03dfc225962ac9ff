#include "device.h"
#include "device_call.h"
#include "kernels/grouped_gemm/grouped_gemm_cuda.h"
#include "kernels/moe/moe_cuda.h"
#include "kernels/rows/rows_cuda.h"
#include "reference.h"

// Experts on a device (docs/kernels/moe_cuda.md). Nothing here waits for it: how many rows an expert has is known to the
// kernels alone.
namespace r1::ops::device {

using kernels::cuda::ExpertRows;
using kernels::cuda::GateShape;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

// From this mean number of rows of an expert on torch's grouped product is taken where it has a kernel.
constexpr int64_t kLibraryRows = 64;

struct GateCall : torch::CustomClassHolder {
  GateShape shape;
  Tensor bias_E, chosen_NK;
};

struct GateFunction : Function<GateFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& logits_NE, const c10::intrusive_ptr<GateCall>& gate) {
    const int64_t N = logits_NE.size(0), K = gate->shape.experts_per_token;
    auto scores_NE = torch::empty_like(logits_NE);
    auto experts_NK = torch::empty({N, K}, logits_NE.options().dtype(at::kLong));
    auto weights_NK = torch::empty({N, K}, logits_NE.options());
    {
      const Call call("moe_gate", logits_NE);
      kernels::cuda::moe_gate_forward(N, gate->shape, call.read<float>(logits_NE), call.read<float>(gate->bias_E),
                                      call.read<int64_t>(gate->chosen_NK), call.write<float>(scores_NE),
                                      call.write<int64_t>(experts_NK), call.write<float>(weights_NK), nullptr, call.stream());
    }
    ctx->save_for_backward({scores_NE, experts_NK});
    ctx->saved_data["gate"] = c10::IValue::make_capsule(gate);
    ctx->mark_non_differentiable({experts_NK});
    return {weights_NK, scores_NE / (scores_NE.sum(-1, true) + 1e-20), experts_NK};
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined() && !grads[1].defined()) return {Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto gate = c10::static_intrusive_pointer_cast<GateCall>(ctx->saved_data["gate"].toCapsule());
    const auto dweights = grads[0].defined() ? grads[0].contiguous() : Tensor();
    const auto dshares = grads[1].defined() ? grads[1].contiguous() : Tensor();
    auto dlogits_NE = torch::empty_like(saved[0]);
    const Call call("moe_gate backward", saved[0]);
    kernels::cuda::moe_gate_backward(saved[0].size(0), gate->shape, call.read<float>(saved[0]), call.read<int64_t>(saved[1]),
                                     call.read<float>(dweights), call.read<float>(dshares), call.write<float>(dlogits_NE),
                                     call.stream());
    return {dlogits_NE, Tensor()};
  }
};

// The pairs (token, place) sorted by expert, as kernels/moe/moe_cuda.h names them; int32.
struct Order {
  int64_t N, K, E;
  Tensor offsets, pairs_M, places_M;

  int64_t M() const { return N * K; }
  ExpertRows rows(const Call& call) const { return {M(), E, call.read<int32_t>(offsets)}; }
  Tensor ends() const { return offsets.narrow(0, 1, E); }  // what torch's grouped product wants
};

Order order_of(const Tensor& experts_NK, int64_t E) {
  Order o{experts_NK.size(0), experts_NK.size(1), E, {}, {}, {}};
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

Tensor permuted(const Order& o, const Tensor& x_NC) {
  const int64_t C = x_NC.size(1);
  auto rows_MC = torch::empty({o.M(), C}, x_NC.options());
  const Call call("permute_rows", x_NC);
  kernels::cuda::permute_rows<Bf16>(o.N, o.K, C, call.read<Bf16>(x_NC), call.read<int32_t>(o.pairs_M), call.write<Bf16>(rows_MC),
                                    call.stream());
  return rows_MC;
}

// Sums of a token's rows, weighted unless weights_NK is undefined.
Tensor unpermuted(const Order& o, const Tensor& rows_MC, const Tensor& weights_NK) {
  const int64_t C = rows_MC.size(1);
  auto y_NC = torch::empty({o.N, C}, rows_MC.options());
  const Call call("unpermute_rows", rows_MC);
  kernels::cuda::unpermute_rows<Bf16>(o.N, o.K, C, call.read<Bf16>(rows_MC), call.read<int32_t>(o.places_M),
                                      call.read<float>(weights_NK), call.write<Bf16>(y_NC), call.stream());
  return y_NC;
}

// A kernel of torch's own is there for sm_90 and sm_100; elsewhere it loops over experts and waits for the device.
bool library_is_faster(const Order& o, const Tensor& x) {
  const int capability = compute_capability(x);
  return (capability == 90 || capability == 100) && o.M() >= kLibraryRows * o.E;
}

// y[m] = W_e x[m]
Tensor product(const Order& o, bool library, const Tensor& x_MI, const Tensor& w_EOI) {
  if (library) return at::_grouped_mm(x_MI, w_EOI.transpose(1, 2), o.ends());
  const int64_t O = w_EOI.size(1), I = w_EOI.size(2);
  auto y_MO = torch::empty({o.M(), O}, x_MI.options());
  const Call call("grouped_product", x_MI);
  kernels::cuda::grouped_product(o.rows(call), I, O, call.read<Bf16>(x_MI), call.read<Bf16>(w_EOI), call.write<Bf16>(y_MO),
                                 call.stream());
  return y_MO;
}

// dx[m] = W_e^T dy[m]
Tensor transposed_product(const Order& o, bool library, const Tensor& dy_MO, const Tensor& w_EOI) {
  if (library) return at::_grouped_mm(dy_MO, w_EOI, o.ends());
  const int64_t O = w_EOI.size(1), I = w_EOI.size(2);
  auto dx_MI = torch::empty({o.M(), I}, dy_MO.options());
  const Call call("grouped_product_transposed", dy_MO);
  kernels::cuda::grouped_product_transposed(o.rows(call), I, O, call.read<Bf16>(dy_MO), call.read<Bf16>(w_EOI),
                                            call.write<Bf16>(dx_MI), call.stream());
  return dx_MI;
}

// dW_e = sum over its rows of dy x^T
Tensor outer_product(const Order& o, bool library, const Tensor& dy_MO, const Tensor& x_MI) {
  if (library) return at::_grouped_mm(dy_MO.transpose(0, 1), x_MI, o.ends());
  const int64_t O = dy_MO.size(1), I = x_MI.size(1);
  auto dw_EOI = torch::empty({o.E, O, I}, x_MI.options());
  const Call call("grouped_outer", x_MI);
  kernels::cuda::grouped_outer(o.rows(call), I, O, call.read<Bf16>(dy_MO), call.read<Bf16>(x_MI), /*accumulate=*/false,
                               call.write<Bf16>(dw_EOI), call.stream());
  return dw_EOI;
}

// h = silu(gate) up of the gathered rows; [gate | up] too when `keep`.
std::pair<Tensor, Tensor> swiglu(const Order& o, bool library, bool keep, const Tensor& x_NC, const Tensor& w_E2FC) {
  const int64_t F = w_E2FC.size(1) / 2, C = x_NC.size(1);
  auto h_MF = torch::empty({o.M(), F}, x_NC.options());
  Tensor gate_up_M2F;
  if (library) {
    gate_up_M2F = product(o, true, permuted(o, x_NC), w_E2FC);
    const Call call("silu_mul", x_NC);
    const auto* gate = call.read<Bf16>(gate_up_M2F);
    kernels::cuda::silu_mul_forward<Bf16>(o.M(), F, gate, gate + F, 2 * F, call.write<Bf16>(h_MF), call.stream());
  } else {
    if (keep) gate_up_M2F = torch::empty({o.M(), 2 * F}, x_NC.options());
    const Call call("grouped_swiglu", x_NC);
    kernels::cuda::grouped_swiglu(o.rows(call), C, F, call.read<Bf16>(x_NC), call.read<int32_t>(o.pairs_M), o.K,
                                  call.read<Bf16>(w_E2FC), call.write<Bf16>(gate_up_M2F), call.write<Bf16>(h_MF), call.stream());
  }
  return {h_MF, gate_up_M2F};
}

struct ExpertsCall : torch::CustomClassHolder {
  Order order;
  ExpertStack stack;
  bool library;
};

struct ExpertsFunction : Function<ExpertsFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& weights_NK, at::TensorList matrices,
                        const c10::intrusive_ptr<ExpertsCall>& experts) {
    const auto& o = experts->order;
    const auto [h_MF, gate_up_M2F] = swiglu(o, experts->library, true, x_NC, experts->stack.gate_up_E2FC);
    tensor_list saved{x_NC, weights_NK, gate_up_M2F};
    saved.insert(saved.end(), matrices.begin(), matrices.end());  // so that a change before the backward pass is noticed
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["experts"] = c10::IValue::make_capsule(experts);
    return unpermuted(o, product(o, experts->library, h_MF, experts->stack.down_ECF), weights_NK);
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto saved = ctx->get_saved_variables();
    tensor_list out(saved.size() - 3 + 3);  // x, weights, the matrices, the call
    if (!grads[0].defined()) return out;
    const auto experts = c10::static_intrusive_pointer_cast<ExpertsCall>(ctx->saved_data["experts"].toCapsule());
    const auto& o = experts->order;
    const auto &x_NC = saved[0], &weights_NK = saved[1], &gate_up_M2F = saved[2];
    const int64_t F = gate_up_M2F.size(1) / 2;
    bool up_wanted = false, down_wanted = false;
    for (size_t i = 0; i + 3 < saved.size(); ++i) (i % 3 == 2 ? down_wanted : up_wanted) |= ctx->needs_input_grad(2 + i);

    auto dy_MC = permuted(o, grads[0].contiguous());
    auto h_MF = transposed_product(o, experts->library, dy_MC, experts->stack.down_ECF);  // the gradient of h, for now
    auto dgate_up_M2F = torch::empty_like(gate_up_M2F);
    auto dweights_NK = torch::empty_like(weights_NK);
    {
      const Call call("expert_silu_mul backward", x_NC);
      auto* h = call.update<Bf16>(h_MF);
      kernels::cuda::expert_silu_mul_backward<Bf16>(o.M(), F, call.read<Bf16>(gate_up_M2F), h, call.read<int32_t>(o.pairs_M),
                                                    call.read<float>(weights_NK), call.write<Bf16>(dgate_up_M2F), h,
                                                    call.write<float>(dweights_NK), call.stream());
    }
    out[1] = dweights_NK;
    Tensor ddown_ECF, dgate_up_E2FC;
    if (down_wanted) ddown_ECF = outer_product(o, experts->library, dy_MC, h_MF);
    dy_MC = h_MF = Tensor();  // their memory serves what follows
    if (ctx->needs_input_grad(0)) {
      out[0] = unpermuted(o, transposed_product(o, experts->library, dgate_up_M2F, experts->stack.gate_up_E2FC), {});
    }
    if (up_wanted) dgate_up_E2FC = outer_product(o, experts->library, dgate_up_M2F, permuted(o, x_NC));
    for (size_t i = 0; i + 3 < saved.size(); ++i) {
      if (!ctx->needs_input_grad(2 + i)) continue;
      const auto e = static_cast<int64_t>(i / 3);
      out[2 + i] = i % 3 == 2 ? ddown_ECF.select(0, e) : dgate_up_E2FC.select(0, e).narrow(0, i % 3 == 0 ? 0 : F, F);
    }
    return out;
  }
};

GateShape shape_of(const GateRule& r) {
  return {r.num_experts, r.experts_per_token, r.num_groups, r.groups_kept,
          r.sigmoid,     r.group_by_top_two,  r.normalize,  static_cast<float>(r.scale)};
}

}  // namespace

Routes moe_gate(const Tensor& logits_NE, const Tensor& bias_E, const GateRule& rule, const Tensor& chosen_NK) {
  auto gate = c10::make_intrusive<GateCall>();
  gate->shape = shape_of(rule);
  if (bias_E.defined()) gate->bias_E = bias_E.to(at::kFloat).contiguous();
  if (chosen_NK.defined()) gate->chosen_NK = chosen_NK.to(logits_NE.device()).contiguous();
  const auto out = GateFunction::apply(logits_NE.to(at::kFloat).contiguous(), gate);
  return {out[2], out[0], out[1]};
}

Tensor expert_mlp(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK,
                  const std::vector<ExpertWeights>& experts) {
  const int64_t E = static_cast<int64_t>(experts.size()), C = x_NC.size(1), F = experts[0].gate_FC.size(0);
  if (x_NC.scalar_type() != at::kBFloat16 || C % 8 != 0 || F % 8 != 0) {
    return ref::expert_mlp(x_NC, experts_NK, weights_NK, experts);
  }
  auto call = c10::make_intrusive<ExpertsCall>();
  call->stack = stacked_experts(experts);
  call->order = order_of(experts_NK.contiguous(), E);
  call->library = library_is_faster(call->order, x_NC);
  const auto x = x_NC.contiguous(), weights = weights_NK.to(at::kFloat).contiguous();
  if (!torch::GradMode::is_enabled()) {
    const auto& o = call->order;
    const auto h_MF = swiglu(o, call->library, false, x, call->stack.gate_up_E2FC).first;
    return unpermuted(o, product(o, call->library, h_MF, call->stack.down_ECF), weights);
  }
  tensor_list matrices;
  for (const auto& e : experts) matrices.insert(matrices.end(), {e.gate_FC, e.up_FC, e.down_CF});
  return ExpertsFunction::apply(x, weights, at::TensorList(matrices), call);
}

}  // namespace r1::ops::device
