#include <torch/torch.h>

#include "device.h"
#include "kernels/attention/attention.h"
#include "pages.h"
#include "r1/ops/ops.h"
#include "reference.h"

namespace r1::ops {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// What the backward pass needs beside tensors: the page table and the shape.
struct AttentionPlan : torch::CustomClassHolder {
  AttentionPlan(const PackedLayout& layout, kernels::AttentionShape shape_) : pages(layout), shape(shape_) {}
  LayoutPages pages;
  kernels::AttentionShape shape;
};

struct AttentionFunction : torch::autograd::Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q_NHD, const Tensor& k_NhD, const std::optional<Tensor>& v_NhD,
                        const c10::intrusive_ptr<AttentionPlan>& plan) {
    const auto& shape = plan->shape;
    auto keys = torch::empty({plan->pages.num_pages, kernels::key_page_floats(shape)}, q_NHD.options());
    auto values = torch::empty({plan->pages.num_pages, kernels::value_page_floats(shape)}, q_NHD.options());
    const kernels::KvPages store{keys.mutable_data_ptr<float>(), values.mutable_data_ptr<float>()};
    kernels::write_kv(shape, store, plan->pages.write_runs, k_NhD.data_ptr<float>(),
                      v_NhD ? v_NhD->data_ptr<float>() : nullptr);
    auto out_NHD = torch::empty_like(q_NHD);
    auto lse_NH = torch::empty({q_NHD.size(0), q_NHD.size(1)}, q_NHD.options());
    kernels::attention_forward(shape, store, plan->pages.runs, q_NHD.data_ptr<float>(),
                               out_NHD.mutable_data_ptr<float>(), lse_NH.mutable_data_ptr<float>());
    ctx->save_for_backward({q_NHD, keys, values, out_NHD, lse_NH});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return out_NHD;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<AttentionPlan>(ctx->saved_data["plan"].toCapsule());
    const auto& shape = plan->shape;
    const auto dout_NHD = grads[0].contiguous();
    const int64_t N = saved[0].size(0);
    auto dq_NHD = torch::empty_like(saved[0]);
    auto dk_NhD = torch::empty({N, shape.num_kv_heads, shape.head_dim}, saved[0].options());
    auto dv_NhD = torch::empty_like(dk_NhD);
    const kernels::KvPages store{saved[1].data_ptr<float>(),
                                 saved[2].data_ptr<float>()};
    kernels::attention_backward(shape, store, plan->pages.runs, saved[0].data_ptr<float>(),
                                saved[3].data_ptr<float>(), saved[4].data_ptr<float>(),
                                dout_NHD.data_ptr<float>(), N, dq_NHD.mutable_data_ptr<float>(),
                                dk_NhD.mutable_data_ptr<float>(), dv_NhD.mutable_data_ptr<float>());
    if (shape.values_are_keys) return {dq_NHD, dk_NhD.add_(dv_NhD), Tensor(), Tensor()};
    return {dq_NHD, dk_NhD, dv_NhD, Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhD, const PackedLayout& layout, double scale) {
  TORCH_CHECK(q_NHD.dim() == 3 && k_NhD.dim() == 3 && q_NHD.size(0) == layout.num_rows && k_NhD.size(0) == layout.num_rows,
              "attention: q is ", q_NHD.sizes(), ", k is ", k_NhD.sizes(), ", the layout has ", layout.num_rows, " rows");
  TORCH_CHECK(q_NHD.size(1) % k_NhD.size(1) == 0, "attention: ", q_NHD.size(1), " heads do not divide into ", k_NhD.size(1));
  if (device::on_device(q_NHD)) return device::attention(q_NHD, k_NhD, v_NhD.defined() ? v_NhD : k_NhD, layout, scale);
  if (!q_NHD.is_cpu() || q_NHD.scalar_type() != torch::kFloat) {
    return ref::attention(q_NHD, k_NhD, v_NhD.defined() ? v_NhD : k_NhD, layout, scale);
  }
  const kernels::AttentionShape shape{q_NHD.size(1), k_NhD.size(1), q_NHD.size(2), static_cast<float>(scale), !v_NhD.defined()};
  return AttentionFunction::apply(q_NHD.contiguous(), k_NhD.contiguous(),
                                  v_NhD.defined() ? std::optional<Tensor>(v_NhD.contiguous()) : std::nullopt,
                                  c10::make_intrusive<AttentionPlan>(layout, shape));
}

}  // namespace r1::ops
