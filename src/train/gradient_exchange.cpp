#include "gradient_exchange.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/torch.h>

#include <algorithm>

#include "r1/util/progress.h"

namespace r1::train {
namespace {

constexpr size_t kUnderWay = 2;  // buckets that may be sent before the oldest is added up, or gathered before the oldest is spread

// Undefined: no gradient, a zero.
at::Tensor add(at::Tensor left, at::Tensor right) {
  if (!left.defined()) return right;
  if (right.defined()) left.add_(right);
  return left;
}

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += monotonic_s() - start_s_; }

 private:
  double& seconds_;
  double start_s_ = monotonic_s();
};

}  // namespace

struct GradientExchange::Bucket {
  std::vector<size_t> chunks;         // in the order of their owners
  std::vector<int64_t> counts;        // elements of each owner
  int64_t elements = 0;
  std::vector<size_t> parameters;     // whose gradients it needs
  size_t waiting = 0;                 // of them, those without one yet
  at::Tensor sent, received, sum;     // 1-D
  at::Tensor whole;                   // all owners' sums; without ZeRO
  std::vector<Block> blocks;          // exact: whose sums were received, in ascending order
  dist::Pending pending;
};

struct GradientExchange::Hook : torch::autograd::PostAccumulateGradHook {
  Hook(GradientExchange& exchange_, size_t parameter_) : exchange(exchange_), parameter(parameter_) {}
  void operator()(const at::Tensor&) override { exchange.gradient_is_ready(parameter); }
  GradientExchange& exchange;
  size_t parameter;
};

GradientExchange::GradientExchange(std::vector<at::Tensor> parameters, std::vector<std::vector<at::Tensor>> sources, const Sharing& sharing,
                                   const Options& options)
    : parameters_(std::move(parameters)), sources_(std::move(sources)), sharing_(sharing), options_(options) {
  options_.overlap = options.overlap && !sharing.ranks->alone();
  if (sources_.empty()) sources_ = {parameters_};
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const int64_t size = parameters_[p].numel();
    for (int64_t begin = 0; begin < size; begin += AdamW::kChunk) chunks_.push_back({p, begin, std::min(AdamW::kChunk, size - begin)});
  }
  trees_.assign(sources_.size(), std::vector<Tree>(parameters_.size(), Tree(&add)));
  ready_.assign(parameters_.size(), false);
  buckets_of_.resize(parameters_.size());
  const int R = sharing_.ranks->size();
  if (R == 1) return;
  for (size_t i = chunks_.size(); i-- > 0;) {
    if (buckets_.empty() || buckets_.back()->elements >= kBucketElements) buckets_.push_back(std::make_unique<Bucket>());
    buckets_.back()->chunks.push_back(i);
    buckets_.back()->elements += chunks_[i].count;
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    auto& bucket = *buckets_[b];
    bucket.counts.assign(static_cast<size_t>(R), 0);
    int64_t before = 0;
    for (const size_t i : bucket.chunks) {
      auto& chunk = chunks_[i];
      chunk.owner = static_cast<int>((before + chunk.count / 2) * R / bucket.elements);
      bucket.counts[static_cast<size_t>(chunk.owner)] += chunk.count;
      before += chunk.count;
      if (bucket.parameters.empty() || bucket.parameters.back() != chunk.parameter) {
        bucket.parameters.push_back(chunk.parameter);
        buckets_of_[chunk.parameter].push_back(b);
      }
    }
  }
  if (!options_.overlap) return;
  for (size_t p = 0; p < parameters_.size(); ++p) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[p], std::make_unique<Hook>(*this, p));
  }
}

GradientExchange::~GradientExchange() {
  if (!options_.overlap) return;
  for (auto& parameter : parameters_) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientExchange::begin_step(int64_t micro_batches, int64_t passes) {
  stepping_ = true;
  total_ = micro_batches;
  passes_ = passes;
  mine_.clear();
  const auto S = static_cast<int>(sources_.size());
  for (int s = 0; s < S; ++s) mine_.push_back(share_of(micro_batches, sharing_.ranks->rank() * S + s, sharing_.ranks->size() * S));
  for (auto& of_source : trees_) {
    for (auto& tree : of_source) tree.clear();
  }
  std::fill(ready_.begin(), ready_.end(), false);
  for (auto& bucket : buckets_) bucket->waiting = bucket->parameters.size();
  next_to_send_ = next_to_receive_ = 0;
}

void GradientExchange::before_backward(int64_t pass) {
  pass_ = pass;
  armed_ = options_.overlap && pass + 1 == passes_;
}

// Called by the backward pass when it has made a parameter's gradient.
void GradientExchange::gradient_is_ready(size_t parameter) {
  if (!armed_ || ready_[parameter]) return;
  take(parameter, pass_);
  ready_[parameter] = true;
  for (const size_t b : buckets_of_[parameter]) --buckets_[b]->waiting;
  begin_ready_buckets(false);
}

void GradientExchange::after_backward(int64_t pass) {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    if (!ready_[p]) take(p, pass);
  }
  armed_ = false;
}

void GradientExchange::take(size_t parameter, int64_t pass) {
  if (sharing_.numerics == Numerics::kFast) return;  // autograd adds in .grad
  const at::NoGradGuard no_grad;
  for (size_t s = 0; s < sources_.size(); ++s) {
    auto& gradient = sources_[s][parameter].mutable_grad();
    if (pass < mine_[s].size()) trees_[s][parameter].push({mine_[s].begin + pass, 1}, gradient.defined() ? gradient.contiguous() : at::Tensor());
    gradient = at::Tensor();  // of an empty pass: zeros
  }
}

void GradientExchange::begin_ready_buckets(bool all) {
  while (next_to_send_ < buckets_.size() && (all || buckets_[next_to_send_]->waiting == 0)) {
    send(*buckets_[next_to_send_++]);
    if (next_to_send_ - next_to_receive_ > kUnderWay && (all || !options_.lockstep)) receive(*buckets_[next_to_receive_++]);
  }
}

std::vector<at::Tensor> GradientExchange::terms_of(size_t parameter) const {
  if (sharing_.numerics == Numerics::kFast) return {gradient_of(parameter)};
  std::vector<at::Tensor> terms;
  for (const auto& of_source : trees_) {
    for (const auto& [block, value] : of_source[parameter].terms()) terms.push_back(value);
  }
  return terms;
}

// What one of the ranks sums, in ascending order.
std::vector<Block> GradientExchange::blocks_from(int rank) const {
  std::vector<Block> blocks;
  const auto S = static_cast<int>(sources_.size());
  for (int s = 0; s < S; ++s) {
    const auto of_source = blocks_of(share_of(total_, rank * S + s, sharing_.ranks->size() * S));
    blocks.insert(blocks.end(), of_source.begin(), of_source.end());
  }
  return blocks;
}

// Layout: for each owner, for each of this rank's terms, the owner's chunks.
void GradientExchange::send(Bucket& bucket) {
  const Stopwatch exposed(exposed_s_);
  const at::NoGradGuard no_grad;
  const int R = sharing_.ranks->size();
  const bool exact = sharing_.numerics == Numerics::kExact;
  const auto num_terms = exact ? static_cast<int64_t>(blocks_from(sharing_.ranks->rank()).size()) : 1;
  const auto options = parameters_[bucket.parameters[0]].options().dtype(at::kFloat).requires_grad(false);
  bucket.sent = at::empty({num_terms * bucket.elements}, options);
  int64_t owner_begin = 0, within = 0;
  int owner = 0;
  for (const size_t i : bucket.chunks) {
    const auto& chunk = chunks_[i];
    while (owner < chunk.owner) {
      owner_begin += num_terms * bucket.counts[static_cast<size_t>(owner++)];
      within = 0;
    }
    const auto terms = terms_of(chunk.parameter);
    for (int64_t t = 0; t < num_terms; ++t) {
      auto place = bucket.sent.narrow(0, owner_begin + t * bucket.counts[static_cast<size_t>(owner)] + within, chunk.count);
      const auto& term = terms[static_cast<size_t>(t)];
      if (term.defined()) {
        place.copy_(term.view(-1).narrow(0, chunk.begin, chunk.count));
      } else {
        place.zero_();
      }
    }
    within += chunk.count;
  }
  const int64_t own = bucket.counts[static_cast<size_t>(sharing_.ranks->rank())];
  if (!exact) {
    bucket.sum = at::empty({own}, options);
    bucket.pending = sharing_.ranks->reduce_scatter(bucket.sent, bucket.counts, bucket.sum, "gradients");
    return;
  }
  std::vector<int64_t> send_counts, receive_counts;
  bucket.blocks.clear();
  for (int r = 0; r < R; ++r) {
    const auto blocks = blocks_from(r);
    bucket.blocks.insert(bucket.blocks.end(), blocks.begin(), blocks.end());
    send_counts.push_back(num_terms * bucket.counts[static_cast<size_t>(r)]);
    receive_counts.push_back(static_cast<int64_t>(blocks.size()) * own);
  }
  bucket.received = at::empty({static_cast<int64_t>(bucket.blocks.size()) * own}, options);
  bucket.pending = sharing_.ranks->all_to_all(bucket.sent, send_counts, bucket.received, receive_counts, "gradients");
}

void GradientExchange::receive(Bucket& bucket) {
  const Stopwatch exposed(exposed_s_);
  const at::NoGradGuard no_grad;
  bucket.pending.wait();
  bucket.sent = at::Tensor();
  const int64_t own = bucket.counts[static_cast<size_t>(sharing_.ranks->rank())];
  if (sharing_.numerics == Numerics::kExact) {
    Tree tree(&add);
    for (size_t k = 0; k < bucket.blocks.size(); ++k) {
      tree.push(bucket.blocks[k], bucket.received.narrow(0, static_cast<int64_t>(k) * own, own));
    }
    bucket.sum = bucket.blocks.empty() ? at::zeros({own}, bucket.received.options()) : tree.fold();
  }
  if (sharing_.zero) return;
  bucket.whole = at::empty({bucket.elements}, bucket.sum.options());
  bucket.pending = sharing_.ranks->all_gather(bucket.sum, bucket.counts, bucket.whole, "summed gradients");
}

// The sums to where the optimizer looks for them.
void GradientExchange::spread(Bucket& bucket) {
  const at::NoGradGuard no_grad;
  {
    const Stopwatch exposed(exposed_s_);
    bucket.pending.wait();
  }
  const auto& from = sharing_.zero ? bucket.sum : bucket.whole;
  int64_t at = 0;
  for (const size_t i : bucket.chunks) {
    const auto& chunk = chunks_[i];
    if (!owns(chunk)) continue;
    gradient_of(chunk.parameter).view(-1).narrow(0, chunk.begin, chunk.count).copy_(from.narrow(0, at, chunk.count));
    at += chunk.count;
  }
  bucket.sent = bucket.received = bucket.sum = bucket.whole = at::Tensor();
}

void GradientExchange::finish(std::vector<at::Tensor> sums) {
  if (!stepping_) return;
  stepping_ = false;
  sums_ = std::move(sums);
  const at::NoGradGuard no_grad;
  if (sharing_.ranks->alone()) {
    if (sharing_.numerics == Numerics::kFast) return;
    for (size_t p = 0; p < parameters_.size(); ++p) {
      Tree whole(&add);
      for (auto& of_source : trees_) {
        for (const auto& [block, value] : of_source[p].terms()) whole.push(block, value);
        of_source[p].clear();
      }
      if (!whole.terms().empty()) parameters_[p].mutable_grad() = whole.fold();
    }
    return;
  }
  begin_ready_buckets(true);
  while (next_to_receive_ < buckets_.size()) receive(*buckets_[next_to_receive_++]);
  for (auto& of_source : trees_) {
    for (auto& tree : of_source) tree.clear();
  }
  for (size_t p = 0; sums_.empty() && p < parameters_.size(); ++p) {
    auto& gradient = parameters_[p].mutable_grad();
    if (gradient.defined() && gradient.is_contiguous()) continue;
    gradient = at::empty(parameters_[p].sizes(), parameters_[p].options().requires_grad(false));
  }
  for (auto& bucket : buckets_) spread(*bucket);
  sums_.clear();
}

void GradientExchange::gather_parameters() {
  const Stopwatch exposed(exposed_s_);
  const at::NoGradGuard no_grad;
  const int rank = sharing_.ranks->rank();
  const auto send = [&](std::unique_ptr<Bucket>& bucket) {
    const auto options = parameters_[bucket->parameters[0]].options().requires_grad(false);
    bucket->sent = at::empty({bucket->counts[static_cast<size_t>(rank)]}, options);
    bucket->received = at::empty({bucket->elements}, options);
    int64_t at = 0;
    for (const size_t i : bucket->chunks) {
      const auto& chunk = chunks_[i];
      if (chunk.owner != rank) continue;
      bucket->sent.narrow(0, at, chunk.count).copy_(parameters_[chunk.parameter].view(-1).narrow(0, chunk.begin, chunk.count));
      at += chunk.count;
    }
    bucket->pending = sharing_.ranks->all_gather(bucket->sent, bucket->counts, bucket->received, "parameters");
  };
  const auto spread = [&](std::unique_ptr<Bucket>& bucket) {
    bucket->pending.wait();
    int64_t at = 0;
    for (const size_t i : bucket->chunks) {
      const auto& chunk = chunks_[i];
      if (chunk.owner != rank) parameters_[chunk.parameter].view(-1).narrow(0, chunk.begin, chunk.count).copy_(bucket->received.narrow(0, at, chunk.count));
      at += chunk.count;
    }
    bucket->sent = bucket->received = at::Tensor();
  };
  for (size_t b = 0; b < buckets_.size() + kUnderWay; ++b) {
    if (b >= kUnderWay) spread(buckets_[b - kUnderWay]);
    if (b < buckets_.size()) send(buckets_[b]);
  }
}

std::vector<double> GradientExchange::gather_by_chunk(const std::vector<double>& own) const {
  if (sharing_.ranks->alone() || !sharing_.zero) return own;
  const auto figures = torch::tensor(own, torch::kDouble);  // zero where another rank is the owner: sums are exact
  sharing_.ranks->all_reduce(figures, dist::Reduce::kSum, "gradient norm").wait();
  return {figures.data_ptr<double>(), figures.data_ptr<double>() + figures.numel()};
}

}  // namespace r1::train
