#include "expert_exchange.h"

#include <torch/torch.h>

#include <numeric>

#include "r1/ops/expert_rows.h"
#include "r1/util/progress.h"

namespace r1::model {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// One layer's exchange: who sends how many rows to whom, and the experts' part of the work.
struct Exchange : torch::CustomClassHolder {
  Exchange(const Tensor& experts_NK, int64_t num_experts, const ExpertRanks& ranks)
      : group(ranks.group), pairs(experts_NK, num_experts), seconds(ranks.exchange_s) {
    const int R = group->size();
    const int64_t own = ranks.end(num_experts) - ranks.begin(num_experts);
    std::vector<int64_t> per_rank;  // experts
    for (int r = 0; r < R; ++r) {
      const int64_t begin = ranks.begin_of(r, num_experts), end = ranks.begin_of(r + 1, num_experts);
      per_rank.push_back(end - begin);
      sent.push_back(std::accumulate(pairs.counts().begin() + begin, pairs.counts().begin() + end, int64_t{0}));
    }
    const std::vector<int64_t> from_each(static_cast<size_t>(R), own);
    auto counts = torch::empty({R * own}, torch::kLong);
    all_to_all(torch::tensor(pairs.counts(), torch::kLong), per_rank, counts, from_each, "experts' loads");
    const auto ids = torch::arange(own);
    for (int r = 0; r < R; ++r) {
      experts.push_back(ids.repeat_interleave(counts.narrow(0, r * own, own)));
      received.push_back(experts.back().size(0));
    }
  }

  // Rows in the order of the pairs, to the ranks of their experts: [M, W] -> [S, W], ascending by rank.
  Tensor to_experts(const Tensor& rows_MW, const char* what) const { return moved(rows_MW, sent, received, what); }
  // And back.
  Tensor from_experts(const Tensor& rows_SW, const char* what) const { return moved(rows_SW, received, sent, what); }

  std::shared_ptr<dist::Communicator> group;
  ops::ExpertPairs pairs;
  std::vector<int64_t> sent, received;  // rows to and from each rank
  std::vector<Tensor> experts;          // of each rank's rows, among this rank's
  std::vector<ops::ExpertRows> parts;   // each rank's rows, or all of them
  std::shared_ptr<double> seconds;

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
    group->all_to_all(in, to, out, from, what).wait();
    *seconds += monotonic_s() - start_s;
  }
};

struct Call : torch::CustomClassHolder {
  Tensor experts_NK;
  int64_t num_experts = 0;
  std::vector<ops::ExpertWeights> own;
  ExpertRanks ranks;
  bool with_backward = false;
};

// The parts of `whole` [S, W] that the exchange's parts take.
std::vector<Tensor> split(const Exchange& exchange, const Tensor& whole, bool by_source) {
  return by_source ? whole.split_with_sizes(exchange.received) : std::vector<Tensor>{whole};
}

struct ExchangedExperts : torch::autograd::Function<ExchangedExperts> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_NC, const Tensor& weights_NK, at::TensorList, const c10::intrusive_ptr<Call>& call) {
    auto exchange = c10::make_intrusive<Exchange>(call->experts_NK, call->num_experts, call->ranks);
    const auto rows_SC = exchange->to_experts(exchange->pairs.rows(x_NC), "tokens to experts");
    const bool by_source = call->with_backward && call->ranks.by_source;
    const auto rows = split(*exchange, rows_SC, by_source);
    const auto experts = by_source ? exchange->experts : std::vector<Tensor>{torch::cat(exchange->experts)};
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < rows.size(); ++i) {
      exchange->parts.emplace_back(rows[i], experts[i], call->own, call->with_backward);
      outputs.push_back(exchange->parts.back().outputs_SC());
    }
    const auto pairs_MC = exchange->from_experts(torch::cat(outputs), "tokens from experts");
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
    const auto there = exchange->to_experts(torch::cat({pairs.rows(grads[0]), pairs.weights(weights_NK).unsqueeze(1)}, 1), "gradients to experts");
    tensor_list matrices, back;
    const auto parts = split(*exchange, there, exchange->parts.size() > 1);
    for (size_t i = 0; i < parts.size(); ++i) {
      auto gradients = exchange->parts[i].backward(parts[i].narrow(1, 0, C).contiguous(), parts[i].select(1, C).contiguous());
      back.push_back(torch::cat({gradients.x_SC, gradients.weights_S.unsqueeze(1)}, 1));
      matrices.insert(matrices.end(), gradients.matrices.begin(), gradients.matrices.end());
    }
    const auto rows = exchange->from_experts(torch::cat(back), "gradients from experts");
    tensor_list out{pairs.sum(rows.narrow(1, 0, C).contiguous(), {}), pairs.by_token(rows.select(1, C).contiguous())};
    out.insert(out.end(), matrices.begin(), matrices.end());
    out.emplace_back();  // the call
    return out;
  }
};

}  // namespace

Tensor exchanged_experts(const Tensor& x_NC, const Tensor& experts_NK, const Tensor& weights_NK, int64_t num_experts,
                         const std::vector<ops::ExpertWeights>& own, const std::vector<Tensor>& leaves, const ExpertRanks& ranks) {
  auto call = c10::make_intrusive<Call>();
  call->experts_NK = experts_NK;
  call->num_experts = num_experts;
  call->own = own;
  call->ranks = ranks;
  call->with_backward = torch::GradMode::is_enabled() && !leaves.empty();
  return ExchangedExperts::apply(x_NC.contiguous(), weights_NK.contiguous(), at::TensorList(leaves), call);
}

}  // namespace r1::model
