#include "device.h"
#include "device_call.h"
#include "expert_products.h"
#include "kernels/moe/moe_cuda.h"
#include "reference.h"

// Experts on a device (docs/kernels/moe_cuda.md). Nothing here waits for it: how many rows an expert has is known to the
// kernels alone.
namespace r1::ops::device {

using kernels::cuda::GateShape;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

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

struct ExpertsCall : torch::CustomClassHolder {
  ExpertOrder order;
  ExpertStack stack;
  bool library;
};

struct ExpertsFunction : Function<ExpertsFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& weights_NK, at::TensorList matrices,
                        const c10::intrusive_ptr<ExpertsCall>& experts) {
    const auto& o = experts->order;
    const auto [h_MF, gate_up_M2F] = expert_swiglu(o, experts->library, true, x_NC, experts->stack.gate_up_E2FC);
    tensor_list saved{x_NC, weights_NK, gate_up_M2F};
    saved.insert(saved.end(), matrices.begin(), matrices.end());  // so that a change before the backward pass is noticed
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["experts"] = c10::IValue::make_capsule(experts);
    return unpermuted(o, grouped_product(o, experts->library, h_MF, experts->stack.down_ECF), weights_NK);
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
    auto h_MF = grouped_transposed(o, experts->library, dy_MC, experts->stack.down_ECF);  // the gradient of h, for now
    const auto [dgate_up_M2F, dweights_NK] = expert_silu_mul_backward(o, gate_up_M2F, weights_NK, h_MF);  // and w h in h_MF
    out[1] = dweights_NK;
    Tensor ddown_ECF, dgate_up_E2FC;
    if (down_wanted) ddown_ECF = grouped_outer(o, experts->library, dy_MC, h_MF);
    dy_MC = h_MF = Tensor();  // their memory serves what follows
    if (ctx->needs_input_grad(0)) {
      out[0] = unpermuted(o, grouped_transposed(o, experts->library, dgate_up_M2F, experts->stack.gate_up_E2FC), {});
    }
    if (up_wanted) dgate_up_E2FC = grouped_outer(o, experts->library, dgate_up_M2F, permuted(o, x_NC));
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
  call->order = order_by_expert(experts_NK.contiguous(), E);
  call->library = library_is_faster(call->order, x_NC);
  const auto x = x_NC.contiguous(), weights = weights_NK.to(at::kFloat).contiguous();
  if (!torch::GradMode::is_enabled()) {
    const auto& o = call->order;
    const auto h_MF = expert_swiglu(o, call->library, false, x, call->stack.gate_up_E2FC).h_MF;
    return unpermuted(o, grouped_product(o, call->library, h_MF, call->stack.down_ECF), weights);
  }
  tensor_list matrices;
  for (const auto& e : experts) matrices.insert(matrices.end(), {e.gate_FC, e.up_FC, e.down_CF});
  return ExpertsFunction::apply(x, weights, at::TensorList(matrices), call);
}

}  // namespace r1::ops::device
