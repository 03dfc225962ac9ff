#include <map>

#include "device.h"
#include "device_call.h"
#include "kernels/attention/attention_cuda.h"
#include "r1/ops/devices.h"
#include "r1/ops/packed.h"
#include "reference.h"

namespace r1::ops {

using device::Bf16;
using device::Call;
using kernels::cuda::HeadRows;
using kernels::cuda::PackedAttentionShape;
using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// By (heads, key heads).
struct DevicePlans {
  struct Plan {
    kernels::cuda::PackedPlan plan;
    Tensor words;  // int32, on the device
  };
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const Plan>> plans;
};

std::shared_ptr<DevicePlans> make_device_plans() { return std::make_shared<DevicePlans>(); }

namespace device {
namespace {

std::shared_ptr<const DevicePlans::Plan> plan_of(const PackedLayout& layout, int64_t num_heads, int64_t num_kv_heads, at::Device place) {
  TORCH_CHECK(layout.device_plans != nullptr, "attention: PackedLayout::finish() was not called");
  auto& slot = layout.device_plans->plans[{num_heads, num_kv_heads}];
  if (slot != nullptr && slot->words.device() == place) return slot;
  std::vector<kernels::cuda::PackedSegment> segments;
  for (const auto& s : layout.segments) segments.push_back({s.first_row, s.num_rows, s.first_position, s.prefix_row});
  auto made = std::make_shared<DevicePlans::Plan>();
  made->plan = kernels::cuda::make_packed_plan(segments, layout.num_rows, num_heads, num_kv_heads);
  made->words = to_device(torch::tensor(at::ArrayRef<int32_t>(made->plan.words), torch::kInt), place);
  slot = std::move(made);
  return slot;
}

struct AttentionCall : torch::CustomClassHolder {
  PackedAttentionShape shape{};
  std::shared_ptr<const DevicePlans::Plan> plan;
};

template <class T>
HeadRows<T> rows(T* data, const Tensor& x_NHD) {
  return {data, x_NHD.size(1) * x_NHD.size(2), x_NHD.size(2)};
}
HeadRows<const Bf16> read(const Call& call, const Tensor& x_NHD) { return rows(call.read<Bf16>(x_NHD), x_NHD); }
HeadRows<Bf16> write(const Call& call, const Tensor& x_NHD) { return rows(call.write<Bf16>(x_NHD), x_NHD); }

struct AttentionFunction : Function<AttentionFunction> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhV,
                        const c10::intrusive_ptr<AttentionCall>& by) {
    auto out_NHV = torch::empty({q_NHD.size(0), q_NHD.size(1), v_NhV.size(2)}, q_NHD.options());
    auto lse_HN = torch::empty({q_NHD.size(1), q_NHD.size(0)}, q_NHD.options().dtype(at::kFloat));
    {
      const Call call("attention", q_NHD);
      kernels::cuda::attention_packed_forward(by->shape, by->plan->plan, call.read<int32_t>(by->plan->words), read(call, q_NHD),
                                              read(call, k_NhD), read(call, v_NhV), write(call, out_NHV),
                                              call.write<float>(lse_HN), call.stream());
    }
    ctx->save_for_backward({q_NHD, k_NhD, v_NhV, out_NHV, lse_HN});
    ctx->saved_data["by"] = c10::IValue::make_capsule(by);
    return out_NHV;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    if (!grads[0].defined()) return {Tensor(), Tensor(), Tensor(), Tensor()};
    const auto saved = ctx->get_saved_variables();
    const auto by = c10::static_intrusive_pointer_cast<AttentionCall>(ctx->saved_data["by"].toCapsule());
    const auto &q_NHD = saved[0], &k_NhD = saved[1], &v_NhV = saved[2], &out_NHV = saved[3], &lse_HN = saved[4];
    const auto dout_NHV = grads[0].contiguous();
    auto dq_NHD = torch::empty_like(q_NHD), dk_NhD = torch::empty_like(k_NhD), dv_NhV = torch::empty_like(v_NhV);
    auto delta_HN = torch::empty_like(lse_HN);
    auto partial = torch::empty({kernels::cuda::packed_attention_partial_floats(by->shape, by->plan->plan)}, lse_HN.options());
    const Call call("attention backward", q_NHD);
    kernels::cuda::attention_packed_backward(by->shape, by->plan->plan, call.read<int32_t>(by->plan->words), read(call, q_NHD),
                                             read(call, k_NhD), read(call, v_NhV), read(call, out_NHV), call.read<float>(lse_HN),
                                             read(call, dout_NHV), write(call, dq_NHD), write(call, dk_NhD), write(call, dv_NhV),
                                             call.scratch<float>(delta_HN), call.scratch<float>(partial), call.stream());
    return {dq_NHD, dk_NhD, dv_NhV, Tensor()};
  }
};

}  // namespace

Tensor attention(const Tensor& q_NHD, const Tensor& k_NhD, const Tensor& v_NhV, const PackedLayout& layout, double scale) {
  const PackedAttentionShape shape{q_NHD.size(1), k_NhD.size(1), q_NHD.size(2), v_NhV.size(2), static_cast<float>(scale)};
  if (q_NHD.scalar_type() != at::kBFloat16 || q_NHD.size(0) == 0 || !kernels::cuda::packed_attention_supports(shape)) {
    return ref::attention(q_NHD.to(at::kFloat), k_NhD.to(at::kFloat), v_NhV.to(at::kFloat), layout, scale).to(q_NHD.scalar_type());
  }
  auto by = c10::make_intrusive<AttentionCall>();
  by->shape = shape;
  by->plan = plan_of(layout, shape.num_heads, shape.num_kv_heads, q_NHD.device());
  return AttentionFunction::apply(q_NHD.contiguous(), k_NhD.contiguous(), v_NhV.contiguous(), by);
}

}  // namespace device
}  // namespace r1::ops
