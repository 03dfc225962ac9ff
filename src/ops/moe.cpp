#include "r1/ops/moe.h"

#include <torch/torch.h>

#include "device.h"
#include "experts_plan.h"
#include "kernels/moe/gate.h"
#include "reference.h"

namespace r1::ops {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

namespace {

bool on_cpu_float32(const Tensor& x) { return x.is_cpu() && x.scalar_type() == torch::kFloat; }
const float* ptr(const Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }
float* out_ptr(const Tensor& x) { return x.mutable_data_ptr<float>(); }

kernels::GateShape shape_of(const GateRule& r) {
  return {r.num_experts, r.experts_per_token, r.num_groups, r.groups_kept,
          r.sigmoid,     r.group_by_top_two,  r.normalize,  static_cast<float>(r.scale)};
}

struct GateCall : torch::CustomClassHolder {
  kernels::GateShape shape;
  Tensor bias_E, chosen_NK;
};

struct GateFunction : Function<GateFunction> {
  static tensor_list forward(AutogradContext* ctx, const Tensor& logits_NE,
                             const c10::intrusive_ptr<GateCall>& call) {
    const auto& s = call->shape;
    const int64_t N = logits_NE.size(0);
    auto scores_NE = torch::empty_like(logits_NE);
    auto experts_NK = torch::empty({N, s.experts_per_token}, torch::kLong);
    auto weights_NK = torch::empty({N, s.experts_per_token}, logits_NE.options());
    kernels::moe_gate_forward(N, s, ptr(logits_NE), ptr(call->bias_E),
                              call->chosen_NK.defined() ? call->chosen_NK.data_ptr<int64_t>() : nullptr,
                              out_ptr(scores_NE), experts_NK.mutable_data_ptr<int64_t>(),
                              out_ptr(weights_NK));
    ctx->save_for_backward({scores_NE, experts_NK});
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    ctx->mark_non_differentiable({experts_NK});
    return {weights_NK, scores_NE / (scores_NE.sum(-1, true) + 1e-20), experts_NK};
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined() && !grads[1].defined()) return {Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto call = c10::static_intrusive_pointer_cast<GateCall>(ctx->saved_data["call"].toCapsule());
    const auto dweights = grads[0].defined() ? grads[0].contiguous() : Tensor();
    const auto dshares = grads[1].defined() ? grads[1].contiguous() : Tensor();
    auto dlogits_NE = torch::empty_like(saved[0]);
    kernels::moe_gate_backward(saved[0].size(0), call->shape, ptr(saved[0]), saved[1].data_ptr<int64_t>(),
                               ptr(dweights), ptr(dshares), out_ptr(dlogits_NE));
    return {dlogits_NE, Tensor()};
  }
};

struct ExpertsCall : torch::CustomClassHolder {
  ExpertsPlan plan;
};

struct ExpertsFunction : Function<ExpertsFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& weights_NK,
                        at::TensorList matrices, const c10::intrusive_ptr<ExpertsCall>& call) {
    const auto* plan = &call->plan;
    const int64_t N = x_NC.size(0), K = weights_NK.size(1);
    auto gate_MF = torch::empty({N * K, plan->sizes.F}, x_NC.options());
    auto up_MF = torch::empty_like(gate_MF);
    auto y_NC = torch::empty_like(x_NC);
    kernels::experts_forward(N, plan->sizes, plan->order, plan->matrices, ptr(x_NC), ptr(weights_NK),
                             out_ptr(gate_MF), out_ptr(up_MF), out_ptr(y_NC));
    tensor_list saved{x_NC, weights_NK, gate_MF, up_MF};
    saved.insert(saved.end(), matrices.begin(),
                 matrices.end());  // so that a change before the backward pass is noticed
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    return y_NC;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto saved = ctx->get_saved_variables();
    tensor_list out(saved.size() - 2 + 1);  // x, weights, the matrices, the call
    if (!grads[0].defined()) return out;
    const auto call = c10::static_intrusive_pointer_cast<ExpertsCall>(ctx->saved_data["call"].toCapsule());
    const auto* plan = &call->plan;
    const auto dy_NC = grads[0].contiguous();
    std::vector<kernels::ExpertGradients> gradients(plan->matrices.size());
    for (const int64_t e : plan->order.active) {
      float* to[3] = {};
      for (size_t i = 0; i < 3; ++i) {
        const size_t at = static_cast<size_t>(3 * e) + i;
        if (!ctx->needs_input_grad(2 + at)) continue;
        out[2 + at] = torch::empty_like(saved[4 + at]);
        to[i] = out_ptr(out[2 + at]);
      }
      gradients[static_cast<size_t>(e)] = {to[0], to[1], to[2]};
    }
    out[0] = torch::empty_like(saved[0]);
    out[1] = torch::empty_like(saved[1]);
    kernels::experts_backward(saved[0].size(0), plan->sizes, plan->order, plan->matrices, ptr(saved[0]),
                              ptr(saved[1]), ptr(saved[2]), ptr(saved[3]), ptr(dy_NC), out_ptr(out[0]),
                              out_ptr(out[1]), gradients);
    return out;
  }
};

struct AttachLoss : Function<AttachLoss> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& loss) {
    ctx->saved_data["options"] = torch::zeros({}, loss.options());
    return x.view_as(x);
  }
  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    return {grads[0], torch::ones_like(ctx->saved_data["options"].toTensor())};
  }
};

}  // namespace

Routes moe_gate(const Tensor& logits_NE, const Tensor& bias_E, const GateRule& rule,
                const Tensor& chosen_NK) {
  TORCH_CHECK(logits_NE.dim() == 2 && logits_NE.size(1) == rule.num_experts, "moe_gate: logits must be [N, ",
              rule.num_experts, "], got ", logits_NE.sizes());
  TORCH_CHECK(rule.num_groups >= 1 && rule.num_experts % rule.num_groups == 0 &&
                  rule.groups_kept <= rule.num_groups &&
                  rule.experts_per_token <= rule.num_experts / rule.num_groups * rule.groups_kept,
              "moe_gate: ", rule.experts_per_token, " experts of ", rule.groups_kept, " of ", rule.num_groups,
              " groups of ", rule.num_experts);
  const bool on_device = device::on_device(logits_NE);
  if (chosen_NK.defined()) {
    if (!on_device) check_experts(chosen_NK, rule.num_experts);
    TORCH_CHECK(chosen_NK.size(0) == logits_NE.size(0) && chosen_NK.size(1) == rule.experts_per_token,
                "moe_gate: chosen experts are ", chosen_NK.sizes(), " for ", logits_NE.size(0), " rows");
  }
  if (on_device) return device::moe_gate(logits_NE, bias_E, rule, chosen_NK);
  if (!on_cpu_float32(logits_NE)) return ref::moe_gate(logits_NE, bias_E, rule, chosen_NK);
  auto call = c10::make_intrusive<GateCall>();
  call->shape = shape_of(rule);
  if (bias_E.defined()) call->bias_E = bias_E.contiguous();
  if (chosen_NK.defined()) call->chosen_NK = chosen_NK.contiguous();
  const auto out = GateFunction::apply(logits_NE.contiguous(), call);
  return {out[2], out[0], out[1]};
}

Tensor expert_mlp(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK,
                  const std::vector<ExpertWeights>& experts) {
  const auto E = static_cast<int64_t>(experts.size());
  TORCH_CHECK(E > 0 && x_NC.dim() == 2 && experts_NK.sizes() == weights_NK.sizes() &&
                  experts_NK.size(0) == x_NC.size(0),
              "expert_mlp: x is ", x_NC.sizes(), ", experts are ", experts_NK.sizes(), ", weights ",
              weights_NK.sizes());
  if (device::on_device(x_NC)) return device::expert_mlp(x_NC, experts_NK, weights_NK, experts);
  check_experts(experts_NK, E);
  if (!on_cpu_float32(x_NC)) return ref::expert_mlp(x_NC, experts_NK, weights_NK, experts);
  auto call = c10::make_intrusive<ExpertsCall>();
  call->plan = ExpertsPlan(experts_NK, experts, torch::GradMode::is_enabled());
  tensor_list matrices;
  matrices.reserve(3 * experts.size());
  for (const auto& w : experts) matrices.insert(matrices.end(), {w.gate_FC, w.up_FC, w.down_CF});
  return ExpertsFunction::apply(x_NC.contiguous(), weights_NK.contiguous(), at::TensorList(matrices), call);
}

Tensor sequence_balance(const Tensor& shares_NE, const Tensor& experts_NK, const PackedLayout& layout) {
  const int64_t E = shares_NE.size(1), K = experts_NK.size(1);
  struct Sums {
    Tensor counts_E, shares_E;
    bool continued = false;
  };
  std::vector<Sums> sums;
  std::vector<int64_t> prefix_of;  // index of the segment that a continuation follows
  for (size_t i = 0; i < layout.segments.size(); ++i) {
    const auto& s = layout.segments[i];
    sums.push_back(
        {torch::zeros({E}, shares_NE.options())
             .scatter_add_(0, experts_NK.narrow(0, s.first_row, s.num_rows).reshape({-1}),
                           torch::ones({s.num_rows * K}, shares_NE.options().requires_grad(false))),
         shares_NE.narrow(0, s.first_row, s.num_rows).sum(0)});
    prefix_of.push_back(-1);
    if (s.first_position == 0) continue;
    for (size_t j = i; j-- > 0;) {
      const auto& p = layout.segments[j];
      if (p.first_row != s.prefix_row || p.first_position != 0) continue;
      prefix_of.back() = static_cast<int64_t>(j);
      sums[j].continued = true;
      break;
    }
  }
  auto total = torch::zeros({}, shares_NE.options());
  for (size_t i = 0; i < sums.size(); ++i) {
    const auto& s = layout.segments[i];
    const auto T = static_cast<double>(s.first_position + s.num_rows);
    if (sums[i].continued || T == 0) continue;
    auto counts_E = sums[i].counts_E, shares_E = sums[i].shares_E;
    if (prefix_of[i] >= 0) {
      counts_E = counts_E + sums[static_cast<size_t>(prefix_of[i])].counts_E;
      shares_E = shares_E + sums[static_cast<size_t>(prefix_of[i])].shares_E;
    }
    total = total + (counts_E * shares_E).sum() * (static_cast<double>(E) / (static_cast<double>(K) * T * T));
  }
  return total;
}

Tensor attach_loss(const Tensor& x, const Tensor& loss) { return AttachLoss::apply(x, loss); }

Tensor expert_counts(const Tensor& experts_NK, int64_t num_experts) {
  if (experts_NK.is_cuda()) {  // bincount would wait for the device
    const auto flat = experts_NK.reshape({-1});
    return torch::zeros({num_experts}, flat.options()).scatter_add_(0, flat, torch::ones_like(flat));
  }
  return torch::bincount(experts_NK.reshape({-1}), {}, num_experts);
}

}  // namespace r1::ops
