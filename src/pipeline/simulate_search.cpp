#include <algorithm>

#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "simulate_stage.h"

namespace r1::pipeline {
namespace {

// arXiv:2412.19437v2, 3.4.1: 32 redundant experts on 32 ranks, one on each.
constexpr double kRedundantExperts = 1;

int64_t node_of(const StageInputs& in, const SimulateOptions& options) {
  return options.gpus_per_node > 0 ? options.gpus_per_node : in.machine.cluster.gpus_per_node;
}

std::vector<int64_t> powers_of_two(int64_t given, int64_t most) {
  if (given > 0) return {given};
  std::vector<int64_t> out;
  for (int64_t i = 1; i <= most; i *= 2) out.push_back(i);
  return out;
}

double sum_of(const std::vector<std::pair<std::string, double>>& items) {
  double sum = 0;
  for (const auto& [name, bytes] : items) sum += bytes;
  return sum;
}

// Bytes of a rank at the piece that caches most.
double sampling_bytes(const StageInputs& in, const SamplerLayout& layout, int64_t ranks) {
  double most = 0;
  for (const auto& piece : in.pieces) {
    const auto time = simulate_rollout(in.machine, in.model, layout, static_cast<double>(ranks) / layout.ranks, rollout_work(in, piece, layout),
                                       CompletionLengths(piece.completion, piece.limit));
    most = std::max(most, sum_of(sampler_memory(in.machine, in.model, layout, time.cached_tokens)));
  }
  return most;
}

}  // namespace

std::vector<TriedLayout> try_layouts(const StageInputs& in, const SimulateOptions& options) {
  const auto layers = static_cast<int64_t>(in.model.layers()), experts = static_cast<int64_t>(in.model.experts);
  const int64_t node = node_of(in, options);
  std::vector<TriedLayout> out;
  for (const int64_t stages : powers_of_two(options.pipeline, std::min(options.ranks, layers))) {
    for (const int64_t expert : powers_of_two(options.expert, std::max<int64_t>(1, std::min(options.ranks / stages, experts)))) {
      TriedLayout tried;
      tried.layout = {options.ranks, stages, expert, node, 0};
      tried.layout.nodes_limit = options.nodes_per_token > 0 ? static_cast<double>(options.nodes_per_token) : nodes_limit_of(in.model.config, expert, node);
      tried.refused = why_not(tried.layout, in.model);
      if (tried.refused.empty()) {
        for (const auto& piece : in.pieces) {
          double smallest = 0;
          const auto step = best_step(in.machine, in.model, tried.layout, work_of(in, piece), &smallest);
          if (!step) {
            tried.needs_bytes = smallest;
            tried.refused = cat("needs ", human_bytes(smallest), " on a rank that has ", human_bytes(in.machine.hardware.memory_bytes));
            break;
          }
          tried.seconds += piece.steps * step->seconds();
        }
      }
      out.push_back(tried);
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const TriedLayout& a, const TriedLayout& b) {
    if (a.refused.empty() != b.refused.empty()) return a.refused.empty();
    return a.refused.empty() && a.seconds < b.seconds;
  });
  return out;
}

std::vector<std::string> refusals_of(const std::vector<TriedLayout>& tried, size_t most) {
  std::vector<std::string> out, reasons;
  for (const auto& t : tried) {
    if (t.refused.empty() || std::find(reasons.begin(), reasons.end(), t.refused) != reasons.end()) continue;
    const bool smallest = t.needs_bytes == 0 || std::none_of(tried.begin(), tried.end(), [&](const TriedLayout& o) {
      return o.layout.pipeline == t.layout.pipeline && o.needs_bytes > 0 && o.needs_bytes < t.needs_bytes;
    });
    if (!smallest || out.size() == most) continue;
    reasons.push_back(t.refused);
    out.push_back(cat(t.layout.pipeline, t.layout.pipeline == 1 ? " stage" : " stages", " x ", t.layout.expert, t.layout.expert == 1 ? " expert rank: " : " expert ranks: ", t.refused));
  }
  return out;
}

SamplerLayout fewest_for_sampling(const StageInputs& in, const SimulateOptions& options) {
  const auto experts = static_cast<int64_t>(in.model.experts), node = node_of(in, options);
  const int64_t most = experts > 0 ? std::min(options.ranks, experts) : 1;
  std::vector<std::string> refused;
  for (const int64_t ranks : powers_of_two(options.sampler, most)) {
    std::string why;
    if (options.ranks % ranks != 0) why = cat(options.ranks, " ranks are no multiple of it");
    else if (ranks > 1 && experts == 0) why = "the model has no experts to deal out";
    else if (ranks > 1 && experts % ranks != 0) why = cat(experts, " experts cannot be dealt to so many");
    else if (ranks % node != 0 && node % ranks != 0) why = cat("neither a part nor a multiple of a node's ", node);
    if (why.empty()) {
      const SamplerLayout layout{static_cast<double>(ranks), static_cast<double>(node), ranks > 1 ? kRedundantExperts : 0};
      const double bytes = sampling_bytes(in, layout, options.ranks);
      if (bytes <= in.machine.hardware.memory_bytes) return layout;
      why = cat("needs ", human_bytes(bytes), " on a rank that has ", human_bytes(in.machine.hardware.memory_bytes));
    }
    refused.push_back(cat(ranks, ranks == 1 ? " rank: " : " ranks: ", why));
  }
  throw Error(cat("--simulate: no group of ranks can sample:\n  ", join(refused, "\n  "), "\n  More ranks=, or a smaller rollout.max_batch, would make room."));
}

}  // namespace r1::pipeline
