#include "r1/train/optimizer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "adamw_pass.h"
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

AdamW::AdamW(NamedTensors parameters, const AdamWConfig& config) : config_(config) {
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
    const auto slot = slots_.size();
    for (int64_t begin = 0; begin < parameter.numel(); begin += kChunk) {
      chunks_.push_back({slot, begin, std::min(kChunk, parameter.numel() - begin)});
    }
    const bool decays = config_.decay_vectors || parameter.dim() >= 2;
    const auto zeros = [&p = parameter] { return at::zeros(p.sizes(), p.options().dtype(at::kFloat).requires_grad(false)); };
    slots_.push_back({name, parameter, zeros(), zeros(), decays, parameter.detach().to(at::kFloat)});
  }
  if (all_on_device) begin_on_device();
}

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

NamedTensors AdamW::gradients() const {
  const auto values = contiguous_gradients();
  NamedTensors named;
  for (size_t i = 0; i < slots_.size(); ++i) named.emplace_back(slots_[i].name, values[i]);
  return named;
}

double AdamW::norm_of(const std::vector<at::Tensor>& gradients) const {
  std::vector<double> chunk_sums(chunks_.size());
  kernels::parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t i) {
    const auto& chunk = chunks_[i];
    const auto& gradient = gradients[chunk.slot];
    if (gradient.defined())
      chunk_sums[i] = sum_of_squares(gradient.data_ptr<float>() + chunk.begin, chunk.count);
  });
  double total = 0.0, tensor = 0.0;
  for (size_t i = 0; i < chunks_.size(); ++i) {
    tensor += chunk_sums[i];
    if (i + 1 == chunks_.size() || chunks_[i + 1].slot != chunks_[i].slot) {
      total += tensor;
      tensor = 0.0;
    }
  }
  return std::sqrt(total);
}

double AdamW::grad_norm() const {
  if (device_) return device_->norm(0).norm;
  return norm_of(contiguous_gradients());
}

OptimizerStep AdamW::step(double lr) {
  const at::NoGradGuard no_grad;
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

  kernels::parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t i) {
    const auto& chunk = chunks_[i];
    const auto& slot = slots_[chunk.slot];
    const auto& gradient = gradients[chunk.slot];
    adamw_pass(slot.parameter.data_ptr<float>() + chunk.begin,
               gradient.defined() ? gradient.data_ptr<float>() + chunk.begin : nullptr,
               slot.exp_avg.data_ptr<float>() + chunk.begin, slot.exp_avg_sq.data_ptr<float>() + chunk.begin,
               chunk.count, slot.decays ? matrices : others);
  });
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
  int64_t bytes = 0;
  for (const auto& slot : slots_) bytes += 2 * slot.parameter.numel() * static_cast<int64_t>(sizeof(float));
  return bytes;
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  for (const auto& slot : slots_) {
    state.emplace_back(slot.name + ".exp_avg", slot.exp_avg);
    state.emplace_back(slot.name + ".exp_avg_sq", slot.exp_avg_sq);
  }
  state.emplace_back("step", at::scalar_tensor(num_steps_, at::TensorOptions().dtype(at::kLong)));
  return state;
}

void AdamW::load_state(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  const auto own = this->state();
  std::map<std::string, at::Tensor> given, wanted(own.begin(), own.end());
  for (const auto& [name, tensor] : state) {
    given[name] = tensor;
    if (wanted.count(name) == 0) {
      throw Error(cat("optimizer state: tensor '", name, "' belongs to no trained parameter.\n",
                      "  The state is of another model; start with the checkpoint of this one."));
    }
  }
  for (const auto& [name, tensor] : own) {
    const auto found = given.find(name);
    if (found == given.end()) {
      throw Error(
          cat("optimizer state: tensor '", name, "' ", tensor.sizes(), " is missing.\n",
              "  The state is of another model or damaged; start with a complete checkpoint of this one."));
    }
    if (found->second.sizes() != tensor.sizes() || found->second.scalar_type() != tensor.scalar_type()) {
      throw Error(cat("optimizer state: tensor '", name, "' is ", found->second.scalar_type(), " ",
                      found->second.sizes(), "; accepted: ", tensor.scalar_type(), " ", tensor.sizes(),
                      ".\n  The state is of another model; start with the checkpoint of this one."));
    }
  }
  for (auto& slot : slots_) {
    slot.exp_avg.copy_(given[slot.name + ".exp_avg"]);
    slot.exp_avg_sq.copy_(given[slot.name + ".exp_avg_sq"]);
  }
  num_steps_ = given["step"].item<int64_t>();
}

}  // namespace r1::train
