#include "r1/train/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "adamw_pass.h"
#include "gradient_exchange.h"
#include "kernels/parallel.h"
#include "optimizer_device.h"
#include "r1/ops/devices.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::train {
namespace {

/// Below 1: with beta = 1 the bias correction divides by zero.
Accept<double> below_one() {
  Accept<double> accept;
  accept.test = [](const double& x) { return x >= 0.0 && x < 1.0; };
  accept.text = "0 or more and below 1";
  return accept;
}

}  // namespace

AdamWConfig AdamWConfig::parse(ConfigNode node) {
  AdamWConfig c;
  node.read("beta1", c.beta1, below_one(), "It is the decay of the mean of gradients; 0.9 is usual.");
  node.read("beta2", c.beta2, below_one(),
            "It is the decay of the mean of squared gradients; 0.95 to 0.999 is usual.");
  node.read("eps", c.eps, above(0.0), "It keeps the update finite where gradients have been zero.");
  node.read("weight_decay", c.weight_decay, at_least(0.0), "It is multiplied by the learning rate.");
  node.read("decay_vectors", c.decay_vectors);
  node.read("max_grad_norm", c.max_grad_norm, at_least(0.0), "0 switches clipping off.");
  node.reject_unknown_keys();
  return c;
}

AdamWScalars AdamWScalars::of(const AdamWConfig& config, double lr, int64_t step) {
  const auto t = static_cast<double>(step);
  AdamWScalars s;
  s.beta1 = static_cast<float>(config.beta1);
  s.one_minus_beta1 = static_cast<float>(1.0 - config.beta1);
  s.beta2 = static_cast<float>(config.beta2);
  s.one_minus_beta2 = static_cast<float>(1.0 - config.beta2);
  s.keep = static_cast<float>(1.0 - lr * config.weight_decay);
  s.step_size = static_cast<float>(lr / (1.0 - std::pow(config.beta1, t)));
  s.inv_sqrt_bias2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(config.beta2, t)));
  s.eps = static_cast<float>(config.eps);
  s.gradient_scale = 1.0f;
  return s;
}

AdamW::AdamW(NamedTensors parameters, const AdamWConfig& config, const Sharing& sharing, bool overlap) : config_(config), sharing_(sharing) {
  std::set<std::string> names;
  bool all_on_device = false;
  for (auto& [name, parameter] : parameters) {
    TORCH_CHECK(parameter.defined(), "AdamW: parameter '", name, "' is undefined");
    if (!parameter.requires_grad()) continue;
    TORCH_CHECK(names.insert(name).second, "AdamW: two parameters are called '", name, "'");
    const bool on_device = ops::on_device(parameter);
    TORCH_CHECK(parameter.is_leaf() && parameter.is_contiguous() &&
                    (on_device || (parameter.is_cpu() && parameter.scalar_type() == at::kFloat)),
                "AdamW: parameter '", name, "' must be a contiguous float32 CPU leaf or lie on a device, got ",
                parameter.scalar_type(), " ", parameter.sizes(), " on ", parameter.device());
    TORCH_CHECK(slots_.empty() || on_device == all_on_device, "AdamW: parameter '", name, "' is on ", parameter.device(),
                ", earlier ones are not");
    all_on_device = on_device;
    const at::NoGradGuard no_grad;
    const bool decays = config_.decay_vectors || parameter.dim() >= 2;
    slots_.push_back({name, parameter, {}, {}, decays, parameter.detach().to(at::kFloat)});
  }
  TORCH_CHECK(!all_on_device || !sharing_.zero, "AdamW: ZeRO-1 is for parameters on a CPU");
  std::vector<at::Tensor> tensors;
  for (const auto& slot : slots_) tensors.push_back(slot.parameter);
  if (all_on_device) sharing_.numerics = Numerics::kFast;  // added as they come, by begin_on_device
  exchange_ = std::make_unique<GradientExchange>(std::move(tensors), sharing_, overlap && !all_on_device);
  make_moments();
  if (all_on_device) begin_on_device();
}

void AdamW::make_moments() {
  const at::NoGradGuard no_grad;
  if (!sharing_.zero) {
    for (auto& slot : slots_) {
      const auto& p = slot.parameter;
      slot.exp_avg = at::zeros(p.sizes(), p.options().dtype(at::kFloat).requires_grad(false));
      slot.exp_avg_sq = at::zeros_like(slot.exp_avg);
    }
    return;
  }
  int64_t elements = 0;
  for (const auto& chunk : exchange_->chunks()) {
    shard_begin_.push_back(exchange_->owns(chunk) ? elements : -1);
    if (exchange_->owns(chunk)) elements += chunk.count;
  }
  shard_avg_ = at::zeros({elements}, at::kFloat);
  shard_avg_sq_ = at::zeros({elements}, at::kFloat);
}

AdamW::Moments AdamW::moments(size_t i) const {
  const auto& chunk = exchange_->chunks()[i];
  if (sharing_.zero) return {shard_avg_.data_ptr<float>() + shard_begin_[i], shard_avg_sq_.data_ptr<float>() + shard_begin_[i]};
  const auto& slot = slots_[chunk.parameter];
  return {slot.exp_avg.data_ptr<float>() + chunk.begin, slot.exp_avg_sq.data_ptr<float>() + chunk.begin};
}

Share AdamW::begin_step(int64_t micro_batches) {
  zero_grad();
  exchange_->begin_step(micro_batches);
  return exchange_->micro_batches();
}

void AdamW::before_backward(int64_t micro_batch) { exchange_->before_backward(micro_batch); }
void AdamW::after_backward(int64_t micro_batch) { exchange_->after_backward(micro_batch); }
void AdamW::finish_gradients() {
  if (device_) exchange_->finish(device_->finished_gradients());
  else exchange_->finish();
}
double AdamW::exposed_s() const { return exchange_->exposed_s(); }

std::vector<at::Tensor> AdamW::contiguous_gradients() const {
  if (device_) return device_->finished_gradients();
  std::vector<at::Tensor> gradients;
  gradients.reserve(slots_.size());
  for (const auto& slot : slots_) {
    const auto& gradient = slot.parameter.grad();
    if (gradient.defined()) {
      TORCH_CHECK(gradient.scalar_type() == at::kFloat && gradient.is_cpu() && !gradient.is_sparse(),
                  "AdamW: the gradient of '", slot.name, "' must be a dense float32 CPU tensor, got ",
                  gradient.scalar_type());
    }
    gradients.push_back(gradient.defined() ? gradient.contiguous() : at::Tensor());
  }
  return gradients;
}

NamedTensors AdamW::gradients() {
  finish_gradients();
  const auto values = contiguous_gradients();
  NamedTensors named;
  for (size_t i = 0; i < slots_.size(); ++i) named.emplace_back(slots_[i].name, values[i]);
  return named;
}

double AdamW::norm_of(const std::vector<at::Tensor>& gradients) const {
  const auto& chunks = exchange_->chunks();
  std::vector<double> own(chunks.size());
  kernels::parallel_for(static_cast<int64_t>(chunks.size()), [&](int64_t i) {
    const auto& chunk = chunks[static_cast<size_t>(i)];
    const auto& gradient = gradients[chunk.parameter];
    if (gradient.defined() && exchange_->owns(chunk))
      own[static_cast<size_t>(i)] = sum_of_squares(gradient.data_ptr<float>() + chunk.begin, chunk.count);
  });
  const auto chunk_sums = exchange_->gather_by_chunk(own);
  double total = 0.0, tensor = 0.0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    tensor += chunk_sums[i];
    if (i + 1 == chunks.size() || chunks[i + 1].parameter != chunks[i].parameter) {
      total += tensor;
      tensor = 0.0;
    }
  }
  return std::sqrt(total);
}

double AdamW::grad_norm() {
  finish_gradients();
  if (device_) return device_->norm(0).norm;
  return norm_of(contiguous_gradients());
}

OptimizerStep AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
  finish_gradients();
  if (device_) return step_on_device(lr);
  const auto gradients = contiguous_gradients();
  OptimizerStep result;
  result.grad_norm = norm_of(gradients);
  if (!std::isfinite(result.grad_norm)) return result;
  if (config_.max_grad_norm > 0)
    result.gradient_scale = std::min(1.0, config_.max_grad_norm / (result.grad_norm + 1e-6));

  AdamWScalars matrices = AdamWScalars::of(config_, lr, ++num_steps_);
  matrices.gradient_scale = static_cast<float>(result.gradient_scale);
  AdamWScalars others = matrices;
  others.keep = 1.0f;

  const auto& chunks = exchange_->chunks();
  kernels::parallel_for(static_cast<int64_t>(chunks.size()), [&](int64_t i) {
    const auto& chunk = chunks[static_cast<size_t>(i)];
    if (!exchange_->owns(chunk)) return;
    const auto& slot = slots_[chunk.parameter];
    const auto& gradient = gradients[chunk.parameter];
    const auto m = moments(static_cast<size_t>(i));
    adamw_pass(slot.parameter.data_ptr<float>() + chunk.begin,
               gradient.defined() ? gradient.data_ptr<float>() + chunk.begin : nullptr, m.exp_avg, m.exp_avg_sq, chunk.count,
               slot.decays ? matrices : others);
  });
  if (sharing_.zero) exchange_->gather_parameters();
  // Written behind autograd's back: a graph that saved the old values must notice.
  for (const auto& slot : slots_) slot.parameter.unsafeGetTensorImpl()->bump_version();
  result.applied = true;
  return result;
}

void AdamW::zero_grad() {
  if (device_) device_->forget_gradients();
  for (auto& slot : slots_) slot.parameter.mutable_grad() = at::Tensor();
}

int64_t AdamW::state_bytes() const {
  if (sharing_.zero) return static_cast<int64_t>(shard_avg_.nbytes() + shard_avg_sq_.nbytes());
  int64_t bytes = 0;
  for (const auto& slot : slots_) bytes += 2 * slot.parameter.numel() * static_cast<int64_t>(sizeof(float));
  return bytes;
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  if (!sharing_.zero) {
    for (const auto& slot : slots_) {
      state.emplace_back(slot.name + ".exp_avg", slot.exp_avg);
      state.emplace_back(slot.name + ".exp_avg_sq", slot.exp_avg_sq);
    }
  }
  state.emplace_back("step", at::scalar_tensor(num_steps_, at::TensorOptions().dtype(at::kLong)));
  return state;
}

std::vector<TensorSlice> AdamW::state_slices() const {
  std::vector<TensorSlice> slices;
  if (!sharing_.zero) return slices;
  const auto& chunks = exchange_->chunks();
  for (size_t first = 0; first < chunks.size();) {
    size_t last = first + 1;  // neighbours of the same parameter are one slice
    int64_t count = chunks[first].count;
    if (!exchange_->owns(chunks[first])) {
      first = last;
      continue;
    }
    while (last < chunks.size() && exchange_->owns(chunks[last]) && chunks[last].parameter == chunks[first].parameter) count += chunks[last++].count;
    const auto& slot = slots_[chunks[first].parameter];
    const auto shape = slot.parameter.sizes().vec();
    slices.push_back({slot.name + ".exp_avg", shape, chunks[first].begin, shard_avg_.narrow(0, shard_begin_[first], count)});
    slices.push_back({slot.name + ".exp_avg_sq", shape, chunks[first].begin, shard_avg_sq_.narrow(0, shard_begin_[first], count)});
    first = last;
  }
  return slices;
}

void AdamW::load_state(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given;
  std::map<std::string, std::pair<at::IntArrayRef, at::ScalarType>> wanted;
  for (const auto& slot : slots_) {
    for (const auto* moment : {".exp_avg", ".exp_avg_sq"}) wanted[slot.name + moment] = {slot.parameter.sizes(), at::kFloat};
  }
  wanted["step"] = {at::IntArrayRef(), at::kLong};
  for (const auto& [name, tensor] : state) {
    given[name] = tensor;
    if (wanted.count(name) == 0) {
      throw Error(cat("optimizer state: tensor '", name, "' belongs to no trained parameter.\n",
                      "  The state is of another model; start with the checkpoint of this one."));
    }
  }
  for (const auto& [name, form] : wanted) {
    const auto& [shape, dtype] = form;
    const auto found = given.find(name);
    if (found == given.end()) {
      throw Error(
          cat("optimizer state: tensor '", name, "' ", shape, " is missing.\n",
              "  The state is of another model or damaged; start with a complete checkpoint of this one."));
    }
    if (found->second.sizes() != shape || found->second.scalar_type() != dtype) {
      throw Error(cat("optimizer state: tensor '", name, "' is ", found->second.scalar_type(), " ",
                      found->second.sizes(), "; accepted: ", dtype, " ", shape,
                      ".\n  The state is of another model; start with the checkpoint of this one."));
    }
  }
  for (auto& slot : slots_) {
    if (sharing_.zero) break;
    slot.exp_avg.copy_(given[slot.name + ".exp_avg"]);
    slot.exp_avg_sq.copy_(given[slot.name + ".exp_avg_sq"]);
  }
  for (auto& slice : state_slices()) slice.values.copy_(given[slice.name].reshape({-1}).narrow(0, slice.begin, slice.values.numel()));
  num_steps_ = given["step"].item<int64_t>();
}

}  // namespace r1::train
