#include "optimizer_device.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/torch.h>

#include <cmath>
#include <map>

#include "adamw_pass.h"
#include "gradient_exchange.h"

namespace r1::train {
namespace {

// Called by the backward pass when it has made a parameter's gradient.
struct TakeGradient : torch::autograd::PostAccumulateGradHook {
  explicit TakeGradient(std::shared_ptr<GradientSum> sum_) : sum(std::move(sum_)) {}
  void operator()(const at::Tensor& parameter) override { sum->take(parameter); }
  std::shared_ptr<GradientSum> sum;
};

}  // namespace

void GradientSum::take(const at::Tensor& parameter) {
  const at::NoGradGuard no_grad;
  auto& gradient = parameter.mutable_grad();
  if (!gradient.defined()) return;
  if (any) {
    values.add_(gradient);
  } else {
    values.copy_(gradient);
  }
  any = true;
  gradient = at::Tensor();
}

// A parameter becomes the bf16 copy of its master, under the same handle: the model goes on with it. Parameters that were parts of
// one tensor (a layer's experts) are parts of one again.
AdamW::OnDevice::OnDevice(std::vector<Slot>& slots) {
  std::map<const void*, at::Tensor> copies;  // by the masters' storage
  const auto copy_of = [&](const at::Tensor& master) {
    const auto& storage = master.storage();
    auto& whole = copies[storage.data()];
    if (!whole.defined()) {
      whole = at::empty({static_cast<int64_t>(storage.nbytes() / sizeof(float))}, master.options().dtype(at::kBFloat16));
    }
    return whole.as_strided(master.sizes(), master.strides(), master.storage_offset()).copy_(master);
  };
  std::vector<ops::DeviceAdamW::Parameter> table;
  for (auto& slot : slots) {
    if (slot.parameter.scalar_type() != at::kBFloat16) slot.parameter.set_data(copy_of(slot.master));
    auto sum = std::make_shared<GradientSum>();
    sum->values = at::zeros_like(slot.master);
    torch::autograd::impl::set_post_acc_grad_hooks(slot.parameter, std::make_unique<TakeGradient>(sum));
    table.push_back({slot.master, sum->values, slot.exp_avg, slot.exp_avg_sq, slot.parameter.detach(), slot.decays});
    parameters.push_back(slot.parameter);
    sums.push_back(std::move(sum));
  }
  adamw = std::make_unique<ops::DeviceAdamW>(std::move(table));
}

AdamW::OnDevice::~OnDevice() {
  for (auto& parameter : parameters) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

std::vector<at::Tensor> AdamW::OnDevice::finished_gradients() {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i]->take(parameters[i]);  // one that was set by hand
    if (!sums[i]->any) sums[i]->values.zero_();
    gradients.push_back(sums[i]->values);
  }
  return gradients;
}

void AdamW::OnDevice::forget_gradients() {
  for (const auto& sum : sums) sum->any = false;
}

AdamW::OnDevice::Norm AdamW::OnDevice::norm(double max_norm) {
  const at::NoGradGuard no_grad;
  finished_gradients();
  Norm result;
  result.on_device = adamw->gradient_norm(max_norm);
  const auto host = result.on_device.cpu();  // sync: a norm that is not finite must stop the step
  result.norm = host[0].item<double>();
  result.factor = host[1].item<double>();
  return result;
}

AdamW::~AdamW() = default;
AdamW::AdamW(AdamW&&) noexcept = default;

void AdamW::begin_on_device() { device_ = std::make_unique<OnDevice>(slots_); }

OptimizerStep AdamW::step_on_device(double lr) {
  const auto norm = device_->norm(config_.max_grad_norm);
  OptimizerStep result;
  result.grad_norm = norm.norm;
  if (!std::isfinite(result.grad_norm)) return result;
  result.gradient_scale = norm.factor;
  const auto s = AdamWScalars::of(config_, lr, ++num_steps_);
  device_->adamw->step({s.beta1, s.one_minus_beta1, s.beta2, s.one_minus_beta2, s.keep, s.step_size, s.inv_sqrt_bias2, s.eps},
                       norm.on_device);
  // Written behind autograd's back: a graph that saved the old values must notice.
  for (const auto& slot : slots_) slot.parameter.unsafeGetTensorImpl()->bump_version();
  result.applied = true;
  return result;
}

NamedTensors AdamW::with_masters(NamedTensors tensors) const {
  if (!device_) return tensors;
  std::map<std::string, at::Tensor> masters;
  for (const auto& slot : slots_) masters[slot.name] = slot.master;
  for (auto& [name, tensor] : tensors) {
    if (const auto it = masters.find(name); it != masters.end()) tensor = it->second;
  }
  return tensors;
}

void AdamW::refresh_copies() {
  if (!device_) return;
  const at::NoGradGuard no_grad;
  for (auto& slot : slots_) slot.parameter.copy_(slot.master);
}

}  // namespace r1::train
