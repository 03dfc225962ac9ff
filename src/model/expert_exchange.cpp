#include "expert_exchange.h"

#include <torch/torch.h>

#include <numeric>

#include "r1/ops/devices.h"
#include "r1/ops/expert_rows.h"
#include "r1/util/progress.h"

namespace r1::model {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::tensor_list;

// One layer's exchange: who sends how many rows to whom.
class Traffic {
 public:
  // counts_E: this rank's rows for each expert, int64 on the group's device.
  Traffic(const Tensor& counts_E, const ExpertRanks& ranks) : group_(ranks.group), seconds_(ranks.exchange_s) {
    const int R = group_->size();
    const int64_t E = counts_E.size(0), own = ranks.end(E) - ranks.begin(E);
    std::vector<int64_t> per_rank;  // experts
    for (int r = 0; r < R; ++r) per_rank.push_back(ranks.begin_of(r + 1, E) - ranks.begin_of(r, E));
    const auto arriving = torch::empty({R * own}, counts_E.options());
    all_to_all(counts_E, per_rank, arriving, std::vector<int64_t>(static_cast<size_t>(R), own), "experts' loads");
    const auto known = torch::cat({counts_E, arriving}).cpu();  // sync: they say how much memory to take; once in a layer's forward pass
    const auto* next = known.data_ptr<int64_t>();
    const auto sum_of = [&](int64_t experts) {
      const auto* begin = next;
      next += experts;
      return std::accumulate(begin, next, int64_t{0});
    };
    for (const int64_t experts : per_rank) sent_.push_back(sum_of(experts));
    for (int r = 0; r < R; ++r) received_.push_back(sum_of(own));
    const int64_t rows = std::accumulate(received_.begin(), received_.end(), int64_t{0});
    experts_S_ = torch::arange(own, counts_E.options()).repeat({R}).repeat_interleave(arriving, {}, rows);
  }

  // Rows in the order of the pairs, to the ranks of their experts: [M, W] -> [S, W], ascending by rank.
  Tensor to_experts(const Tensor& rows_MW, const char* what) const { return moved(rows_MW, sent_, received_, what); }
  // And back.
  Tensor from_experts(const Tensor& rows_SW, const char* what) const { return moved(rows_SW, received_, sent_, what); }

  const Tensor& experts_S() const { return experts_S_; }                      // of the rows here, among this rank's
  const std::vector<int64_t>& received() const { return received_; }          // rows from each rank

 private:
  Tensor moved(const Tensor& rows, const std::vector<int64_t>& to, const std::vector<int64_t>& from, const char* what) const {
    const int64_t W = rows.size(1);
    const auto elements = [W](std::vector<int64_t> counts) {
      for (auto& count : counts) count *= W;
      return counts;
    };
    auto out = torch::empty({std::accumulate(from.begin(), from.end(), int64_t{0}), W}, rows.options());
    all_to_all(rows.reshape({-1}), elements(to), out.view({-1}), elements(from), what);
    return out;
  }
  void all_to_all(const Tensor& in, const std::vector<int64_t>& to, const Tensor& out, const std::vector<int64_t>& from, const char* what) const {
    const double start_s = monotonic_s();
    group_->all_to_all(in, to, out, from, what).wait();
    *seconds_ += monotonic_s() - start_s;
  }

  std::shared_ptr<dist::Communicator> group_;
  std::shared_ptr<double> seconds_;
  std::vector<int64_t> sent_, received_;  // rows to and from each rank
  Tensor experts_S_;
};

// Float32 on a CPU, with the bits of one rank.

struct Exchange : torch::CustomClassHolder {
  Exchange(const Tensor& experts_NK, int64_t num_experts, const ExpertRanks& ranks)
      : pairs(experts_NK, num_experts), traffic(torch::tensor(pairs.counts(), torch::kLong), ranks) {}
  ops::ExpertPairs pairs;
  Traffic traffic;
  std::vector<ops::ExpertRows> parts;  // each rank's rows, or all of them
};

struct Call : torch::CustomClassHolder {
  Tensor experts_NK;
  int64_t num_experts = 0;
  std::vector<ops::ExpertWeights> own;
  ExpertRanks ranks;
  bool with_backward = false;
};

// The parts of `whole` [S, ...] that the exchange's parts take.
std::vector<Tensor> split(const Exchange& exchange, const Tensor& whole, bool by_source) {
  return by_source ? whole.split_with_sizes(exchange.traffic.received()) : std::vector<Tensor>{whole};
}

struct ExchangedExperts : Function<ExchangedExperts> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& weights_NK, at::TensorList, const c10::intrusive_ptr<Call>& call) {
    auto exchange = c10::make_intrusive<Exchange>(call->experts_NK, call->num_experts, call->ranks);
    const auto rows_SC = exchange->traffic.to_experts(exchange->pairs.rows(x_NC), "tokens to experts");
    const bool by_source = call->with_backward && call->ranks.by_source;
    const auto rows = split(*exchange, rows_SC, by_source), experts = split(*exchange, exchange->traffic.experts_S(), by_source);
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < rows.size(); ++i) {
      exchange->parts.emplace_back(rows[i], experts[i], call->own, call->with_backward);
      outputs.push_back(exchange->parts.back().outputs_SC());
    }
    const auto pairs_MC = exchange->traffic.from_experts(torch::cat(outputs), "tokens from experts");
    const auto y_NC = exchange->pairs.sum(pairs_MC, weights_NK);
    if (call->with_backward) {
      ctx->save_for_backward({weights_NK});
      ctx->saved_data["exchange"] = c10::IValue::make_capsule(exchange);
    }
    return y_NC;
  }

  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto exchange = c10::static_intrusive_pointer_cast<Exchange>(ctx->saved_data["exchange"].toCapsule());
    const auto weights_NK = ctx->get_saved_variables()[0];
    const auto& pairs = exchange->pairs;
    const int64_t C = grads[0].size(1);
    const auto there = exchange->traffic.to_experts(torch::cat({pairs.rows(grads[0]), pairs.weights(weights_NK).unsqueeze(1)}, 1), "gradients to experts");
    tensor_list matrices, back;
    const auto parts = split(*exchange, there, exchange->parts.size() > 1);
    for (size_t i = 0; i < parts.size(); ++i) {
      auto gradients = exchange->parts[i].backward(parts[i].narrow(1, 0, C).contiguous(), parts[i].select(1, C).contiguous());
      back.push_back(torch::cat({gradients.x_SC, gradients.weights_S.unsqueeze(1)}, 1));
      matrices.insert(matrices.end(), gradients.matrices.begin(), gradients.matrices.end());
    }
    const auto rows = exchange->traffic.from_experts(torch::cat(back), "gradients from experts");
    tensor_list out{pairs.sum(rows.narrow(1, 0, C).contiguous(), {}), pairs.by_token(rows.select(1, C).contiguous())};
    out.insert(out.end(), matrices.begin(), matrices.end());
    out.emplace_back();  // the call
    return out;
  }
};

// Anything else: differentiable parts with ops::expert_mlp between them.

// The pairs (token n, place k), numbered n K + k, sorted by expert, those of one expert in order of their numbers.
struct SortedPairs : torch::CustomClassHolder {
  SortedPairs(const Tensor& experts_NK, int64_t num_experts, const ExpertRanks& ranks)
      : K(experts_NK.size(1)),
        order_M(experts_NK.flatten().argsort(/*stable=*/true, 0, /*descending=*/false)),
        places_M(torch::empty_like(order_M).scatter_(0, order_M, torch::arange(order_M.size(0), order_M.options()))),
        traffic(ops::expert_counts(experts_NK, num_experts), ranks) {}

  Tensor by_token(const Tensor& rows_MC) const { return rows_MC.index_select(0, places_M).view({rows_MC.size(0) / K, K, rows_MC.size(1)}); }

  int64_t K;
  Tensor order_M, places_M;  // the pair at a place, and its inverse
  Traffic traffic;
};

// Either way rows are gathered, never scattered: sums run in a fixed order.
struct ToExperts : Function<ToExperts> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const c10::intrusive_ptr<SortedPairs>& pairs) {
    ctx->saved_data["pairs"] = c10::IValue::make_capsule(pairs);
    return pairs->traffic.to_experts(x_NC.index_select(0, pairs->order_M.floor_divide(pairs->K)), "tokens to experts");
  }
  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto pairs = c10::static_intrusive_pointer_cast<SortedPairs>(ctx->saved_data["pairs"].toCapsule());
    const auto rows_NKC = pairs->by_token(pairs->traffic.from_experts(grads[0], "gradients from experts"));
    const auto dtype = grads[0].scalar_type();
    return {rows_NKC.sum(1, /*keepdim=*/false, c10::promoteTypes(dtype, torch::kFloat)).to(dtype), Tensor()};
  }
};

struct FromExperts : Function<FromExperts> {
  static Tensor forward(AutogradContext* ctx, const Tensor& rows_SC, const c10::intrusive_ptr<SortedPairs>& pairs) {
    ctx->saved_data["pairs"] = c10::IValue::make_capsule(pairs);
    return pairs->by_token(pairs->traffic.from_experts(rows_SC, "tokens from experts"));
  }
  static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
    const auto pairs = c10::static_intrusive_pointer_cast<SortedPairs>(ctx->saved_data["pairs"].toCapsule());
    return {pairs->traffic.to_experts(grads[0].flatten(0, 1).index_select(0, pairs->order_M), "gradients to experts"), Tensor()};
  }
};

Tensor exchanged_by_parts(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK, int64_t num_experts,
                          const std::vector<ops::ExpertWeights>& own, const ExpertRanks& ranks) {
  const auto pairs = c10::make_intrusive<SortedPairs>(experts_NK, num_experts, ranks);
  auto rows_SC = ToExperts::apply(x_NC, pairs);
  const int64_t S = rows_SC.size(0);
  if (S > 0) {  // else they are their own outputs, so that the backward pass finds its way to the other ranks
    const auto ones_S1 = torch::ones({S, 1}, weights_NK.options().requires_grad(false));
    rows_SC = ops::expert_mlp(rows_SC, pairs->traffic.experts_S().unsqueeze(1), ones_S1, own);
  }
  return (weights_NK.unsqueeze(2) * FromExperts::apply(rows_SC, pairs)).sum(1).to(x_NC.scalar_type());
}

}  // namespace

Tensor exchanged_experts(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK, int64_t num_experts,
                         const std::vector<ops::ExpertWeights>& own, const std::vector<Tensor>& leaves, const ExpertRanks& ranks) {
  if (ops::on_device(x_NC) || x_NC.scalar_type() != torch::kFloat) {
    TORCH_CHECK(!ranks.by_source || !torch::GradMode::is_enabled(), "experts over ranks: each rank's tokens have gradients apart in float32 on a CPU alone");
    return exchanged_by_parts(x_NC, experts_NK, weights_NK, num_experts, own, ranks);
  }
  auto call = c10::make_intrusive<Call>();
  call->experts_NK = experts_NK;
  call->num_experts = num_experts;
  call->own = own;
  call->ranks = ranks;
  call->with_backward = torch::GradMode::is_enabled() && !leaves.empty();
  return ExchangedExperts::apply(x_NC.contiguous(), weights_NK.contiguous(), at::TensorList(leaves), call);
}

}  // namespace r1::model
