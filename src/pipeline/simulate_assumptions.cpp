#include <algorithm>

#include "r1/util/strings.h"
#include "simulate_stage.h"

namespace r1::pipeline {

std::vector<Assumption> assumptions_of(const StageInputs& in) {
  std::vector<Assumption> out;
  const auto add = [&](std::string text, std::string source, std::function<void(StageInputs&, double)> scale) {
    out.push_back({std::move(text), std::move(source), std::move(scale)});
  };
  const auto share = [](double Cluster::*field) { return [field](StageInputs& i, double x) { i.machine.cluster.*field *= x; }; };
  if (in.machine.fp8()) {
    add("FP8 products of attention layers and MLPs, forward", "published: DeepGEMM", [](StageInputs& i, double x) {
      i.machine.cluster.projection_share *= x;
      i.machine.cluster.expert_share *= x;
    });
  }
  add("bfloat16 products", "measured on an H100", share(&Cluster::bf16_share));
  add("products of the backward pass beside the forward pass's", "fitted to arXiv:2505.09343, Table 4", share(&Cluster::backward_share));
  add("attention, forward and backward", "published: FlashAttention-3", [](StageInputs& i, double x) {
    i.machine.cluster.attention_share *= x;
    i.machine.cluster.attention_backward_share *= x;
  });
  add("memory bandwidth", "published: FlashMLA", share(&Cluster::memory_share));
  add("links in all_to_all, reduce_scatter, all_gather", "published: DeepEP", share(&Cluster::exchange_share));
  add("multiprocessors that all_to_all takes", "published: arXiv:2412.19437v2, 3.2.2", share(&Cluster::exchange_multiprocessors));
  if (!in.rl) return out;
  add("time of dispatch and combine in decoding, bytes apart", "from DeepEP's published table", [](StageInputs& i, double x) {
    i.machine.cluster.dispatch_s *= x;
    i.machine.cluster.combine_s *= x;
  });
  add("time of launches and small kernels of a layer in decoding", "assumed", [](StageInputs& i, double x) { i.machine.hardware.decode_layer_s *= x; });
  add("attention in decoding", "published: FlashMLA", share(&Cluster::decode_attention_share));
  add("tokens that a decoding step gives", "published: arXiv:2412.19437v2, 5.4.3", [](StageInputs& i, double x) { i.tokens_per_decode_step *= x; });
  add("mean completion", "assumed: read off a figure", [](StageInputs& i, double x) {
    for (auto& p : i.pieces) p.completion = std::min(p.completion * x, p.limit);
  });
  add("longest completion of a rollout", "assumed: the limit", [](StageInputs& i, double x) {
    for (auto& p : i.pieces) p.longest *= x;
  });
  return out;
}

std::vector<Alternative> alternatives_of(const StageInputs& in) {
  std::vector<Alternative> out;
  const auto add = [&](std::string text, std::function<void(StageInputs&)> change) { out.push_back({std::move(text), std::move(change)}); };
  if (in.machine.fp8()) add("products and dispatch in bfloat16", [](StageInputs& i) { i.machine.cluster.fp8_flops = 0; });
  if (in.layout->pipeline > 1 && in.layout->pipeline % 2 == 0) add("1F1B in place of DualPipe", [](StageInputs& i) { i.dual = false; });
  if (in.layout->nodes_limit > 0 && in.layout->expert > in.layout->gpus_per_node) {
    add("a token's experts on any node", [](StageInputs& i) { i.layout->nodes_limit = 0; });
  }
  if (!in.rl) return out;
  for (const double times : {0.5, 2.0, 4.0}) {
    const double ranks = in.sampler->ranks * times;
    if (ranks < 2 || ranks > in.model.experts || ranks > static_cast<double>(in.layout->ranks)) continue;
    add(cat("sampling in groups of ", ranks, " ranks"), [ranks](StageInputs& i) { i.sampler->ranks = ranks; });
  }
  if (in.tokens_per_decode_step > 1 && in.model.mtp_layers > 0) add("no drafts: one token a decoding step", [](StageInputs& i) { i.tokens_per_decode_step = 1; });
  add("the longest completion as an exponential distribution has it", [](StageInputs& i) {
    for (auto& p : i.pieces) p.longest = CompletionLengths(p.completion, p.limit).longest_of(i.prompts * i.group * i.steps_per_rollout);
  });
  return out;
}

}  // namespace r1::pipeline
