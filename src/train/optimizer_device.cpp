#include "optimizer_device.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "adamw_pass.h"
#include "gradient_exchange.h"
#include "r1/ops/devices.h"

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
AdamW::OnDevice::OnDevice(AdamW& of) {
  std::map<const void*, at::Tensor> copies;  // by the masters' storage
  const auto copy_of = [&](const at::Tensor& master) {
    const auto& storage = master.storage();
    auto& whole = copies[storage.data()];
    if (!whole.defined()) {
      whole = at::empty({static_cast<int64_t>(storage.nbytes() / sizeof(float))}, master.options().dtype(at::kBFloat16));
    }
    return whole.as_strided(master.sizes(), master.strides(), master.storage_offset()).copy_(master);
  };
  for (auto& slot : of.slots_) {
    parameters.push_back(slot.parameter);
    sums.push_back(slot.parameter.defined() ? std::make_shared<GradientSum>() : nullptr);
    if (!slot.parameter.defined()) continue;
    if (slot.parameter.scalar_type() != at::kBFloat16) slot.parameter.set_data(copy_of(slot.master));
    sums.back()->values = at::zeros_like(slot.master);
    torch::autograd::impl::set_post_acc_grad_hooks(slot.parameter, std::make_unique<TakeGradient>(sums.back()));
  }
  if (of.sharing_.experts) experts_ = of.sharing_.experts->group;
  make_table(of);
}

// With ZeRO-1 the masters of own chunks go into a shard, the others are dropped.
void AdamW::OnDevice::make_table(AdamW& of) {
  constexpr int64_t kSquares = ops::DeviceAdamW::kChunk;
  static_assert(kChunk % kSquares == 0, "a rank's sums of squares are those of a rank that has all");
  const auto sums_of = [](int64_t elements) { return (elements + kSquares - 1) / kSquares; };
  const bool zero = of.sharing_.zero;
  if (zero) masters = at::zeros_like(of.shard_avg_);
  std::vector<size_t> shared_of(of.slots_.size());
  std::vector<int64_t> first_place(of.slots_.size());  // among the sums of squares of the same shared_
  for (const auto& shared : of.shared_) {
    Squares squares;
    squares.ranks = shared.exchange->ranks();
    for (const size_t i : shared.slots) {
      shared_of[i] = squares_.size();
      first_place[i] = squares.all;
      squares.all += sums_of(parameters[i].numel());
    }
    squares_.push_back(std::move(squares));
  }
  std::vector<std::vector<int64_t>> places(squares_.size());
  std::vector<ops::DeviceAdamW::Parameter> table;
  for (const auto& own : of.own_slices()) {  // in the order of shared_
    const auto& slot = of.slots_[own.slot];
    const auto part = [&](const at::Tensor& whole) { return whole.view(-1).narrow(0, own.begin, own.count); };
    const auto kept = [&](const at::Tensor& shard, const at::Tensor& whole) { return zero ? shard.narrow(0, own.shard_begin, own.count) : part(whole); };
    const auto master = kept(masters, slot.master);
    if (zero) master.copy_(part(slot.master));
    table.push_back({master, part(sums[own.slot]->values), kept(of.shard_avg_, slot.exp_avg), kept(of.shard_avg_sq_, slot.exp_avg_sq),
                     part(slot.parameter.detach()), slot.decays});
    const size_t shared = shared_of[own.slot];
    squares_[shared].own += sums_of(own.count);
    for (int64_t i = 0; i < sums_of(own.count); ++i) places[shared].push_back(first_place[own.slot] + own.begin / kSquares + i);
  }
  adamw = std::make_unique<ops::DeviceAdamW>(std::move(table));
  if (!zero) return;
  for (size_t i = 0; i < squares_.size(); ++i) squares_[i].places = ops::to_device(at::tensor(places[i], at::kLong), masters.device());
  for (auto& slot : of.slots_) slot.master = at::Tensor();
}

AdamW::OnDevice::~OnDevice() {
  for (auto& parameter : parameters) {
    if (parameter.defined()) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

std::vector<at::Tensor> AdamW::OnDevice::finished_gradients() {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (!sums[i]) {
      gradients.emplace_back();
      continue;
    }
    sums[i]->take(parameters[i]);  // one that was set by hand
    if (!sums[i]->any) sums[i]->values.zero_();
    sums[i]->any = true;  // the other ranks' may be added to it
    gradients.push_back(sums[i]->values);
  }
  return gradients;
}

void AdamW::OnDevice::forget_gradients() {
  for (const auto& sum : sums) {
    if (sum) sum->any = false;
  }
}

AdamW::OnDevice::Norm AdamW::OnDevice::norm(double max_norm) {
  const at::NoGradGuard no_grad;
  finished_gradients();
  Norm result;
  const auto all = adamw->gradient_squares();
  std::vector<at::Tensor> parts;
  int64_t next = 0;
  for (const auto& squares : squares_) {
    auto part = all.narrow(0, next, squares.own);
    next += squares.own;
    if (squares.places.defined()) {  // zeros where another rank has the sum: what is added up is exact, and the norm that of a rank that has all
      const auto own = part;
      part = at::zeros({squares.all}, masters.options().dtype(at::kDouble));
      if (squares.own > 0) part.index_copy_(0, squares.places, own);
      squares.ranks->all_reduce(part, dist::Reduce::kSum, "gradient norm").wait();
    }
    parts.push_back(part);
  }
  if (experts_) {  // the last part: here the sum over each rank's experts
    auto of_ranks = at::zeros({experts_->size()}, at::TensorOptions(experts_->device()).dtype(at::kDouble));
    of_ranks.narrow(0, experts_->rank(), 1).copy_(parts.back().sum());
    experts_->all_reduce(of_ranks, dist::Reduce::kSum, "gradient norm of experts").wait();
    parts.back() = of_ranks;
  }
  result.on_device = ops::DeviceAdamW::norm_of(at::cat(parts), max_norm);
  const auto host = result.on_device.cpu();  // sync: a norm that is not finite must stop the step
  result.norm = host[0].item<double>();
  result.factor = host[1].item<double>();
  return result;
}

AdamW::~AdamW() = default;
AdamW::AdamW(AdamW&&) noexcept = default;

void AdamW::begin_on_device() { device_ = std::make_unique<OnDevice>(*this); }

OptimizerStep AdamW::step_on_device(double lr) {
  const auto norm = device_->norm(config_.max_grad_norm);
  OptimizerStep result;
  result.grad_norm = norm.norm;
  if (!std::isfinite(result.grad_norm)) return result;
  result.gradient_scale = norm.factor;
  const auto s = AdamWScalars::of(config_, lr, ++num_steps_);
  device_->adamw->step({s.beta1, s.one_minus_beta1, s.beta2, s.one_minus_beta2, s.keep, s.step_size, s.inv_sqrt_bias2, s.eps},
                       norm.on_device);
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

TensorParts AdamW::with_masters(TensorParts parts) const {
  if (!device_) return parts;
  std::map<std::string, at::Tensor> masters;
  std::set<std::string> found;
  for (const auto& slot : slots_) masters[slot.name] = slot.master;
  for (auto& [name, tensor] : parts.tensors) {
    const auto it = masters.find(name);
    if (it == masters.end()) continue;
    tensor = it->second;
    found.insert(name);
  }
  if (!sharing_.zero) return parts;
  for (const auto& own : own_slices()) {
    const auto& slot = slots_[own.slot];
    if (!found.contains(slot.name)) continue;
    parts.slices.push_back({slot.name, slot.parameter.sizes().vec(), own.begin, device_->masters.narrow(0, own.shard_begin, own.count)});
  }
  return parts;
}

TensorParts AdamW::with_whole_masters(TensorParts parts) const {
  const auto here = with_masters(parts);
  if (!device_ || !sharing_.zero) return here;
  const at::NoGradGuard no_grad;
  std::set<std::string> sliced;
  for (const auto& [name, tensor] : here.tensors) {
    if (!tensor.defined()) sliced.insert(name);
  }
  parts.tensors = here.tensors;
  size_t before = 0;  // of chunks_
  for (const auto& shared : shared_) {
    auto& ranks = *shared.exchange->ranks();
    const auto R = static_cast<size_t>(ranks.size()), rank = static_cast<size_t>(ranks.rank());
    const auto& chunks = shared.exchange->chunks();  // those of chunks_ from `before` on, with their owners
    std::vector<int64_t> given(R);
    for (size_t next = 0; next < chunks.size();) {
      const size_t first = next, place = chunks[first].parameter;
      while (next < chunks.size() && chunks[next].parameter == place) ++next;
      const auto& slot = slots_[shared.slots[place]];
      if (!sliced.contains(slot.name)) continue;
      const auto to = static_cast<size_t>(std::min_element(given.begin(), given.end()) - given.begin());
      given[to] += slot.parameter.numel();
      std::vector<int64_t> counts(R), send_counts(R);  // elements of each owner
      std::vector<at::Tensor> own{device_->masters.narrow(0, 0, 0)};
      for (size_t i = first; i < next; ++i) {
        counts[static_cast<size_t>(chunks[i].owner)] += chunks[i].count;
        const auto& chunk = chunks_[before + i];
        if (chunk.own) own.push_back(device_->masters.narrow(0, chunk.shard_begin, chunk.count));
      }
      const auto sent = at::cat(own);
      send_counts[to] = sent.numel();
      const auto received = at::empty({rank == to ? slot.parameter.numel() : 0}, sent.options());
      ranks.all_to_all(sent, send_counts, received, rank == to ? counts : std::vector<int64_t>(R), "masters").wait();
      if (rank != to) continue;
      std::vector<int64_t> begin_of(R);
      for (size_t r = 1; r < R; ++r) begin_of[r] = begin_of[r - 1] + counts[r - 1];
      const auto whole = at::empty_like(received);
      for (size_t i = first; i < next; ++i) {
        auto& begin = begin_of[static_cast<size_t>(chunks[i].owner)];
        whole.narrow(0, chunks[i].begin, chunks[i].count).copy_(received.narrow(0, begin, chunks[i].count));
        begin += chunks[i].count;
      }
      parts.slices.push_back({slot.name, slot.parameter.sizes().vec(), 0, whole.cpu()});  // sync: room for the next
    }
    before += chunks.size();
  }
  return parts;
}

void AdamW::refresh_copies() {
  if (!device_) return;
  const at::NoGradGuard no_grad;
  if (!sharing_.zero) {
    for (auto& slot : slots_) {
      if (slot.parameter.defined()) slot.parameter.copy_(slot.master);
    }
    return;
  }
  for (const auto& own : own_slices()) {
    slots_[own.slot].parameter.view(-1).narrow(0, own.begin, own.count).copy_(device_->masters.narrow(0, own.shard_begin, own.count));
  }
  for (auto& shared : shared_) shared.exchange->gather_parameters();
}

}  // namespace r1::train
