#include "simulate_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

template <typename... Args>
std::string print(const char* format, Args... args) {
  char text[512];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

std::string memory_text(const std::vector<std::pair<std::string, double>>& items) {
  std::vector<std::string> parts;
  double sum = 0;
  for (const auto& [name, bytes] : items) {
    parts.push_back(cat(name, " ", human_bytes(bytes)));
    sum += bytes;
  }
  return cat(join(parts, ", "), "; together ", human_bytes(sum));
}

std::string layout_lines(const StageInputs& in, const StageResult& r) {
  const auto& l = *in.layout;
  const auto& t = r.training;
  std::string out = cat("  layout   training: ", l.text(), ", ZeRO-1 over ", l.data(), " data ranks, tensor parallel 1; ", t.pipeline.schedule, ", ", t.micro_batches,
                        t.micro_batches == 1 ? " micro-batch of " : " micro-batches of ", print("%.0f", t.micro_batch_tokens), " tokens",
                        in.checkpointing ? ", activation checkpointing" : "", l.nodes_limit > 0 ? print(", a token's experts on %.0f nodes at most", l.nodes_limit) : "", "\n");
  out += cat("  memory   training: ", memory_text(t.memory), " of ", human_bytes(in.machine.hardware.memory_bytes), "\n");
  if (in.sampler) {
    const auto& s = *in.sampler;
    out += cat("  layout   sampling: ", static_cast<double>(l.ranks) / s.ranks, s.ranks == static_cast<double>(l.ranks) ? " group of " : " groups of ", s.ranks,
               s.ranks == 1 ? " rank" : " ranks", s.ranks > 1 ? ", attention data-parallel, experts dealt over the group" : "",
               s.redundant_experts > 0 ? cat(", ", s.redundant_experts, " redundant expert a rank") : "", "\n");
    out += cat("  memory   sampling: ", memory_text(r.sampler_memory), "; the trainer's is offloaded meanwhile (arXiv:2501.12948v2, B.1)\n");
  }
  return out;
}

std::string tried_lines(const std::vector<TriedLayout>& tried) {
  std::string out;
  const double best = tried.front().seconds;
  int shown = 0;
  for (const auto& t : tried) {
    if (!t.refused.empty() || shown == 5) break;
    out += cat(shown++ == 0 ? "  tried    " : "           ", t.layout.text(), print(": training %.2f times the fastest", best > 0 ? t.seconds / best : 1.0), "\n");
  }
  const auto refused = refusals_of(tried, 8);
  for (size_t i = 0; i < refused.size(); ++i) out += cat(i == 0 ? "  refused  " : "           ", refused[i], "\n");
  return out;
}

std::string phase_lines(const StageInputs& in, const StageResult& r) {
  const double ranks = static_cast<double>(in.layout->ranks);
  std::string out = print("\n  %-28s %10s %8s %10s %12s\n", "phase", "s a step", "share", "hours", "GPU hours");
  double sum = 0;
  for (const auto& [name, seconds] : r.phases) sum += seconds;
  const auto line = [&](const std::string& name, double seconds, const char* note) {
    const double hours = seconds * r.steps / 3600;
    return print("  %-28s %10.3f %7.1f%% %10.2f %12.0f%s\n", name.c_str(), seconds, sum > 0 ? 100 * seconds / sum : 0.0, hours, hours * ranks, note);
  };
  for (const auto& [name, seconds] : r.phases) out += line(name, seconds, name == "reward" ? "   rules run on CPUs beside rollouts" : "");
  return out + line("together", sum, "");
}

std::string link_lines(const StageResult& r) {
  std::string out = print("\n  %-28s %12s %12s\n", "bytes of a rank in a step", "NVLink", "InfiniBand");
  for (const auto& [name, bytes] : r.links) {
    if (bytes.nvlink + bytes.network == 0) continue;
    out += print("  %-28s %12s %12s\n", name.c_str(), human_bytes(bytes.nvlink).c_str(), human_bytes(bytes.network).c_str());
  }
  return out;
}

std::string chunk_line(const StageResult& r) {
  const auto& p = r.training.pipeline;
  return print("\n  a step by kind of chunk: 1F %.2f s, 1B %.2f s, 1W %.2f s, 1F1B %.2f s, bubble %.2f s, gradients, optimizer and weights %.2f s; %.2f s\n", p.forward_alone,
               p.backward_alone, p.weight_alone, p.together, p.bubble, r.training.seconds() - p.seconds, r.training.seconds());
}

std::string rollout_line(const StageInputs& in, const StageResult& r) {
  if (!r.rollout) return "";
  const auto& t = *r.rollout;
  const auto& p = in.pieces.back();
  return print("  a decoding step, rollouts of %.0f tokens on average and %.0f at most: %.1f ms at first, %.1f ms when one sequence is left; %.0f steps, %.0f s\n", p.completion,
               p.longest, 1e3 * t.first.seconds(), 1e3 * t.last.seconds(), t.steps, t.decode_s);
}

std::string result_lines(const StageEntry& entry, const StageInputs& in, const StageResult& r) {
  const double hours = r.device_hours(in.layout->ranks), published = entry.plan.published_hours;
  const auto& name = in.machine.hardware.name;
  std::string out = print("\n  simulated  %.1f h on %lld x %s: %.1fK GPU hours, %.3g GPU hours a step\n", r.seconds / 3600, static_cast<long long>(in.layout->ranks), name.c_str(), hours / 1e3,
                          hours / std::max(1.0, r.steps));
  if (!in.rl) out += print("             %.1fK GPU hours per trillion tokens (%s tokens)\n", hours / r.tokens * 1e9, human_count(r.tokens).c_str());
  if (published > 0) {
    out += print("  published  %.1fK GPU hours", published / 1e3);
    if (!in.rl) out += print(", %.1fK per trillion tokens", published / r.tokens * 1e9);
    out += print("; simulated / published = %.3f\n", hours / published);
  }
  return out;
}

std::string sensitivity_lines(const StageInputs& in, const StageResult& r) {
  const double hours = r.device_hours(in.layout->ranks);
  std::string out = print("\n  %-58s %9s %9s  %s\n", "assumed; GPU hours when it is", "10 % less", "10 % more", "source");
  for (const auto& assumption : assumptions_of(in)) {
    double changed[2] = {0, 0};
    bool fits = true;
    for (int i = 0; i < 2; ++i) {
      auto inputs = in;
      assumption.scale(inputs, i == 0 ? 0.9 : 1.1);
      const auto result = simulate_stage(inputs);
      fits = fits && result.has_value();
      if (result) changed[i] = 100 * (result->device_hours(in.layout->ranks) / hours - 1);
    }
    out += fits ? print("  %-58s %+8.1f%% %+8.1f%%  %s\n", assumption.text.c_str(), changed[0], changed[1], assumption.source.c_str())
                : print("  %-58s %19s  %s\n", assumption.text.c_str(), "no longer fits", assumption.source.c_str());
  }
  return out;
}

std::string alternative_lines(const StageInputs& in, const StageResult& r) {
  const double hours = r.device_hours(in.layout->ranks);
  std::string out = print("\n  %-60s %12s\n", "otherwise", "GPU hours");
  for (const auto& other : alternatives_of(in)) {
    auto inputs = in;
    other.change(inputs);
    const auto result = simulate_stage(inputs);
    if (!result) {
      out += print("  %-60s %12s\n", other.text.c_str(), "does not fit");
      continue;
    }
    const double changed = result->device_hours(in.layout->ranks), share = 100 * (changed / hours - 1);
    if (std::abs(share) < 0.05) continue;
    double sampling = 0;
    for (const auto& [name, bytes] : result->sampler_memory) sampling += bytes;
    out += print("  %-60s %11.1fK %+8.1f%%%s\n", other.text.c_str(), changed / 1e3, share, sampling > in.machine.hardware.memory_bytes ? print("   but needs %s a rank", human_bytes(sampling).c_str()).c_str() : "");
  }
  return out;
}

}  // namespace

std::string stage_text(const StageEntry& entry, const StageInputs& in, const StageResult& r, const std::vector<TriedLayout>& tried) {
  std::string out = cat("stage    ", entry.name, " (", entry.kind, "), ", r.steps, " steps", in.rl ? cat(", ", r.steps / in.steps_per_rollout, " rollouts of ", in.prompts * in.steps_per_rollout * in.group, " completions") : "", "\n");
  out += layout_lines(in, r) + tried_lines(tried) + phase_lines(in, r) + link_lines(r) + chunk_line(r) + rollout_line(in, r) + result_lines(entry, in, r) + sensitivity_lines(in, r) + alternative_lines(in, r);
  return out;
}

}  // namespace r1::pipeline
