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

AdamW::AdamW(NamedTensors parameters, const AdamWConfig& config, const Sharing& sharing, bool overlap, const ExpertLeaves& experts)
    : config_(config), sharing_(sharing) {
  std::set<std::string> names;
  bool any = false, all_on_device = false;
  std::vector<size_t> everywhere, of_experts;
  for (auto& [name, parameter] : parameters) {
    TORCH_CHECK(parameter.defined() || sharing_.experts, "AdamW: parameter '", name, "' is undefined");
    if (parameter.defined() && !parameter.requires_grad()) continue;
    TORCH_CHECK(names.insert(name).second, "AdamW: two parameters are called '", name, "'");
    const size_t place = slots_.size();
    if (!parameter.defined()) {
      slots_.push_back({.name = name, .parameter = {}, .exp_avg = {}, .exp_avg_sq = {}, .is_expert = true});
      continue;
    }
    const bool on_device = ops::on_device(parameter);
    TORCH_CHECK(parameter.is_leaf() && parameter.is_contiguous() &&
                    (on_device || (parameter.is_cpu() && parameter.scalar_type() == at::kFloat)),
                "AdamW: parameter '", name, "' must be a contiguous float32 CPU leaf or lie on a device, got ",
                parameter.scalar_type(), " ", parameter.sizes(), " on ", parameter.device());
    TORCH_CHECK(!any || on_device == all_on_device, "AdamW: parameter '", name, "' is on ", parameter.device(), ", earlier ones are not");
    all_on_device = on_device;
    any = true;
    const at::NoGradGuard no_grad;
    const bool decays = config_.decay_vectors || parameter.dim() >= 2, is_expert = sharing_.experts && experts.contains(name);
    slots_.push_back({name, parameter, {}, {}, decays, parameter.detach().to(at::kFloat), is_expert});
    (is_expert ? of_experts : everywhere).push_back(place);
  }
  if (all_on_device) sharing_.numerics = Numerics::kFast;  // added as they come, by begin_on_device
  add_shared(std::move(everywhere), sharing_, overlap && !all_on_device, {});
  if (sharing_.experts) {
    Sharing peers{sharing_.experts->peers, sharing_.numerics, sharing_.zero};
    add_shared(std::move(of_experts), peers, false, experts);
  }
  make_moments();
  if (all_on_device) begin_on_device();
}

void AdamW::add_shared(std::vector<size_t> slots, const Sharing& sharing, bool overlap, const ExpertLeaves& experts) {
  std::vector<at::Tensor> tensors;
  std::vector<std::vector<at::Tensor>> sources;
  for (const size_t i : slots) {
    tensors.push_back(slots_[i].parameter);
    if (experts.empty()) continue;
    const auto& leaves = experts.at(slots_[i].name);
    sources.resize(leaves.size());
    for (size_t s = 0; s < leaves.size(); ++s) sources[s].push_back(leaves[s]);
  }
  const GradientExchange::Options options{overlap, sharing_.experts.has_value()};
  auto exchange = std::make_unique<GradientExchange>(std::move(tensors), std::move(sources), sharing, options);
  for (const auto& chunk : exchange->chunks()) chunks_.push_back({slots[chunk.parameter], chunk.begin, chunk.count, exchange->owns(chunk), 0});
  shared_.push_back({std::move(slots), std::move(exchange)});
}

void AdamW::make_moments() {
  const at::NoGradGuard no_grad;
  if (!sharing_.zero) {
    for (auto& slot : slots_) {
      const auto& p = slot.parameter;
      if (!p.defined()) continue;
      slot.exp_avg = at::zeros(p.sizes(), p.options().dtype(at::kFloat).requires_grad(false));
      slot.exp_avg_sq = at::zeros_like(slot.exp_avg);
    }
    return;
  }
  constexpr int64_t kAlign = 64;  // elements: 256 bytes, for the kernels' vectors; chunks of one parameter stay neighbours
  static_assert(kChunk % kAlign == 0);
  int64_t elements = 0;
  for (auto& chunk : chunks_) {
    chunk.shard_begin = elements;
    if (chunk.own) elements += (chunk.count + kAlign - 1) / kAlign * kAlign;
  }
  const auto some = std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.parameter.defined(); });
  const auto device = some == slots_.end() ? at::Device(at::kCPU) : some->parameter.device();
  shard_avg_ = at::zeros({elements}, at::TensorOptions(device).dtype(at::kFloat));
  shard_avg_sq_ = at::zeros_like(shard_avg_);
}

std::vector<AdamW::Chunk> AdamW::own_slices() const {
  std::vector<Chunk> slices;
  bool beside = false;
  for (const auto& chunk : chunks_) {
    if (chunk.own && beside && slices.back().slot == chunk.slot) slices.back().count += chunk.count;
    else if (chunk.own) slices.push_back(chunk);
    beside = chunk.own;
  }
  return slices;
}

AdamW::Moments AdamW::moments(const Chunk& chunk) const {
  if (sharing_.zero) return {shard_avg_.data_ptr<float>() + chunk.shard_begin, shard_avg_sq_.data_ptr<float>() + chunk.shard_begin};
  const auto& slot = slots_[chunk.slot];
  return {slot.exp_avg.data_ptr<float>() + chunk.begin, slot.exp_avg_sq.data_ptr<float>() + chunk.begin};
}

Share AdamW::begin_step(int64_t micro_batches) {
  zero_grad();
  const auto mine = share_of(micro_batches, sharing_.ranks->rank(), sharing_.ranks->size());
  first_ = mine.begin;
  for (auto& shared : shared_) shared.exchange->begin_step(micro_batches, num_passes(sharing_, micro_batches));
  return mine;
}

void AdamW::before_backward(int64_t micro_batch) {
  for (auto& shared : shared_) shared.exchange->before_backward(micro_batch - first_);
}

void AdamW::after_backward(int64_t micro_batch) {
  for (auto& shared : shared_) shared.exchange->after_backward(micro_batch - first_);
}

void AdamW::finish_gradients() {
  const auto all = device_ ? device_->finished_gradients() : std::vector<at::Tensor>();
  for (auto& shared : shared_) {
    std::vector<at::Tensor> sums;
    if (device_) {
      for (const size_t i : shared.slots) sums.push_back(all[i]);
    }
    shared.exchange->finish(std::move(sums));
  }
}

double AdamW::exposed_s() const {
  double seconds = 0;
  for (const auto& shared : shared_) seconds += shared.exchange->exposed_s();
  return seconds;
}

std::vector<at::Tensor> AdamW::contiguous_gradients() const {
  if (device_) return device_->finished_gradients();
  std::vector<at::Tensor> gradients;
  gradients.reserve(slots_.size());
  for (const auto& slot : slots_) {
    const auto gradient = slot.parameter.defined() ? slot.parameter.grad() : at::Tensor();
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
  std::vector<double> own(chunks_.size());
  kernels::parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t i) {
    const auto& chunk = chunks_[static_cast<size_t>(i)];
    const auto& gradient = gradients[chunk.slot];
    if (gradient.defined() && chunk.own) own[static_cast<size_t>(i)] = sum_of_squares(gradient.data_ptr<float>() + chunk.begin, chunk.count);
  });
  auto tensor_sums = torch::zeros({static_cast<int64_t>(slots_.size())}, torch::kDouble);
  auto* of_slot = tensor_sums.data_ptr<double>();
  auto next = own.begin();
  size_t at = 0;
  for (const auto& shared : shared_) {
    const auto end = next + static_cast<int64_t>(shared.exchange->chunks().size());
    for (const double sum : shared.exchange->gather_by_chunk({next, end})) of_slot[chunks_[at++].slot] += sum;
    next = end;
  }
  if (sharing_.experts) {  // zeros for those that another rank of the group has: sums are exact
    const auto of_experts = tensor_sums.clone();
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (!slots_[i].is_expert) of_experts[static_cast<int64_t>(i)] = 0;
    }
    sharing_.experts->group->all_reduce(of_experts, dist::Reduce::kSum, "gradient norm of experts").wait();
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].is_expert) of_slot[i] = of_experts[static_cast<int64_t>(i)].item<double>();
    }
  }
  double total = 0.0;
  for (size_t i = 0; i < slots_.size(); ++i) total += of_slot[i];
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

  kernels::parallel_for(static_cast<int64_t>(chunks_.size()), [&](int64_t i) {
    const auto& chunk = chunks_[static_cast<size_t>(i)];
    if (!chunk.own) return;
    const auto& slot = slots_[chunk.slot];
    const auto& gradient = gradients[chunk.slot];
    const auto m = moments(chunk);
    adamw_pass(slot.parameter.data_ptr<float>() + chunk.begin,
               gradient.defined() ? gradient.data_ptr<float>() + chunk.begin : nullptr, m.exp_avg, m.exp_avg_sq, chunk.count,
               slot.decays ? matrices : others);
  });
  for (auto& shared : shared_) {
    if (sharing_.zero) shared.exchange->gather_parameters();
  }
  // Written behind autograd's back: a graph that saved the old values must notice.
  for (const auto& slot : slots_) {
    if (slot.parameter.defined()) slot.parameter.unsafeGetTensorImpl()->bump_version();
  }
  result.applied = true;
  return result;
}

void AdamW::zero_grad() {
  if (device_) device_->forget_gradients();
  for (auto& slot : slots_) {
    if (slot.parameter.defined()) slot.parameter.mutable_grad() = at::Tensor();
  }
}

int64_t AdamW::state_bytes() const {
  if (sharing_.zero) return static_cast<int64_t>(shard_avg_.nbytes() + shard_avg_sq_.nbytes());
  int64_t bytes = 0;
  for (const auto& slot : slots_) bytes += slot.parameter.defined() ? 2 * slot.parameter.numel() * static_cast<int64_t>(sizeof(float)) : 0;
  return bytes;
}

NamedTensors AdamW::state() const {
  NamedTensors state;
  for (const auto& slot : slots_) {
    if (sharing_.zero || slot.is_expert) continue;
    state.emplace_back(slot.name + ".exp_avg", slot.exp_avg);
    state.emplace_back(slot.name + ".exp_avg_sq", slot.exp_avg_sq);
  }
  state.emplace_back("step", at::scalar_tensor(num_steps_, at::TensorOptions().dtype(at::kLong)));
  return state;
}

std::vector<TensorSlice> AdamW::state_slices() const {
  std::vector<TensorSlice> slices;
  if (!sharing_.zero) {
    for (const auto& slot : slots_) {
      if (!slot.is_expert || !slot.parameter.defined()) continue;
      const auto shape = slot.parameter.sizes().vec();
      slices.push_back({slot.name + ".exp_avg", shape, 0, slot.exp_avg.view(-1)});
      slices.push_back({slot.name + ".exp_avg_sq", shape, 0, slot.exp_avg_sq.view(-1)});
    }
    return slices;
  }
  for (const auto& own : own_slices()) {
    const auto& slot = slots_[own.slot];
    const auto shape = slot.parameter.sizes().vec();
    slices.push_back({slot.name + ".exp_avg", shape, own.begin, shard_avg_.narrow(0, own.shard_begin, own.count)});
    slices.push_back({slot.name + ".exp_avg_sq", shape, own.begin, shard_avg_sq_.narrow(0, own.shard_begin, own.count)});
  }
  return slices;
}

void AdamW::load_state(const NamedTensors& state) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> given;
  std::map<std::string, std::pair<at::IntArrayRef, at::ScalarType>> wanted;
  std::set<std::string> elsewhere;
  for (const auto& slot : slots_) {
    for (const auto* moment : {".exp_avg", ".exp_avg_sq"}) {
      if (slot.parameter.defined()) wanted[slot.name + moment] = {slot.parameter.sizes(), at::kFloat};
      else elsewhere.insert(slot.name + moment);
    }
  }
  wanted["step"] = {at::IntArrayRef(), at::kLong};
  for (const auto& [name, tensor] : state) {
    given[name] = tensor;
    if (!wanted.contains(name) && !elsewhere.contains(name)) {
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
    if (sharing_.zero || !slot.parameter.defined()) continue;
    slot.exp_avg.copy_(given[slot.name + ".exp_avg"]);
    slot.exp_avg_sq.copy_(given[slot.name + ".exp_avg_sq"]);
  }
  for (auto& slice : state_slices()) slice.values.copy_(given[slice.name].reshape({-1}).narrow(0, slice.begin, slice.values.numel()));
  num_steps_ = given["step"].item<int64_t>();
}

}  // namespace r1::train
