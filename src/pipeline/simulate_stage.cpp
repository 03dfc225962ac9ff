#include "simulate_stage.h"

#include <algorithm>

#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// Sums seconds and bytes of a stage under the names of their phases, in the order of their first appearance.
class Sums {
 public:
  explicit Sums(StageResult& out) : out_(out) {}
  void time(const char* name, double seconds) {
    for (auto& [known, sum] : out_.phases) {
      if (known == name) {
        sum += seconds;
        return;
      }
    }
    out_.phases.emplace_back(name, seconds);
  }
  void bytes(const char* name, const LinkBytes& bytes) {
    for (auto& [known, sum] : out_.links) {
      if (known == name) {
        sum += bytes;
        return;
      }
    }
    out_.links.emplace_back(name, bytes);
  }

 private:
  StageResult& out_;
};

// The reference's forward pass over a rollout's rows, where the sampler's ranks hold it.
double reference_seconds(const StageInputs& in, const StagePiece& piece, const StepWork& work, LinkBytes& bytes) {
  const auto& m = in.model;
  const double ranks = static_cast<double>(in.layout->ranks), here = std::max(in.steps_per_rollout * work.tokens / ranks, in.prompt_tokens + piece.longest);
  const MicroBatch batch{here, here * work.pairs / work.tokens};
  const ExpertLayout experts{in.sampler->ranks, in.sampler->gpus_per_node, in.layout->nodes_limit};
  double seconds = head_time(in.machine, m, here).forward;
  if (m.dense_layers > 0) seconds += m.dense_layers * inference_seconds(in.machine, layer_time(in.machine, m, LayerKind::kDense, batch, experts, false));
  if (m.expert_layers > 0) {
    const auto layer = layer_time(in.machine, m, LayerKind::kExperts, batch, experts, false);
    seconds += m.expert_layers * inference_seconds(in.machine, layer);
    bytes += layer.bytes * (m.expert_layers / 2);
  }
  return seconds;
}

void add_training(const TrainingStep& step, double steps, Sums& sums) {
  const auto& p = step.pipeline;
  sums.time("forward", steps * p.forward);
  sums.time("backward, inputs", steps * p.backward);
  sums.time("backward, weights", steps * p.weight);
  sums.time("slower beside all_to_all", steps * p.shared_device);
  sums.time("all_to_all exposed", steps * p.exchange_exposed);
  sums.time("pipeline bubble", steps * p.bubble);
  sums.time("gradient reduce exposed", steps * step.reduce_s);
  sums.time("optimizer", steps * step.optimizer_s);
  sums.time("weight gather exposed", steps * step.gather_s);
  sums.bytes("all_to_all, training", step.exchange * steps);
  sums.bytes("pipeline sends", step.sends * steps);
  sums.bytes("gradients, reduce_scatter", step.reduce * steps);
  sums.bytes("weights, all_gather", step.gather * steps);
}

}  // namespace

StepWork work_of(const StageInputs& in, const StagePiece& piece) {
  StepWork w;
  w.micro_batch_tokens = in.micro_batch_tokens;
  w.mtp = in.mtp;
  w.checkpointing = in.checkpointing;
  w.dual = in.dual;
  if (!in.rl) {
    w.tokens = in.texts * in.text_tokens;
    w.pairs = w.tokens * (in.text_tokens + 1) / 2;
    w.mean_tokens = w.longest_tokens = in.text_tokens;
    return w;
  }
  // A prompt once per group, and all of a completion but its last token.
  const CompletionLengths lengths(piece.completion, piece.limit);
  const double sequences = in.prompts * in.group;
  w.tokens = in.prompts * in.prompt_tokens + sequences * std::max(1.0, piece.completion - 1);
  w.pairs = sequences * lengths.mean_square(in.prompt_tokens) / 2;
  w.mean_tokens = in.prompt_tokens + piece.completion;
  w.longest_tokens = in.prompt_tokens + lengths.longest_of(sequences);
  return w;
}

RolloutWork rollout_work(const StageInputs& in, const StagePiece& piece, const SamplerLayout& sampler) {
  RolloutWork w;
  w.prompts = in.prompts * in.steps_per_rollout;
  w.completions = w.prompts * in.group;
  w.prompt_tokens = in.prompt_tokens;
  w.longest = piece.longest;
  w.tokens_per_decode_step = in.model.mtp_layers > 0 ? in.tokens_per_decode_step : 1;
  w.at_once = std::max(1.0, in.max_batch / sampler.ranks);
  return w;
}

std::optional<StageResult> simulate_stage(const StageInputs& in, std::string* why) {
  StageResult out;
  Sums sums(out);
  double longest = -1;
  for (const auto& piece : in.pieces) {
    const auto work = work_of(in, piece);
    double smallest = 0;
    const auto step = best_step(in.machine, in.model, *in.layout, work, &smallest);
    if (!step) {
      if (why != nullptr) *why = cat("needs ", human_bytes(smallest), " of a rank's ", human_bytes(in.machine.hardware.memory_bytes), " to train");
      return std::nullopt;
    }
    out.steps += piece.steps;
    out.tokens += piece.steps * (in.rl ? in.prompts * in.group * piece.completion : work.tokens);
    std::optional<RolloutTime> rollout;
    if (in.rl) {
      const double rollouts = piece.steps / in.steps_per_rollout, replicas = static_cast<double>(in.layout->ranks) / in.sampler->ranks;
      rollout = simulate_rollout(in.machine, in.model, *in.sampler, replicas, rollout_work(in, piece, *in.sampler), CompletionLengths(piece.completion, piece.limit));
      const LinkBytes to_samplers{0, sampler_memory(in.machine, in.model, *in.sampler, 0).front().second};
      sums.time("weights to the samplers", rollouts * in.machine.seconds(to_samplers));
      sums.time("rollout: prefill", rollouts * rollout->prefill_s);
      const auto& s = rollout->sum;
      sums.time("rollout: launches", rollouts * s.fixed);
      sums.time("rollout: weights", rollouts * s.weights);
      sums.time("rollout: attention", rollouts * s.attention);
      sums.time("rollout: all_to_all", rollouts * s.exchange);
      sums.time("rollout: head", rollouts * s.head);
      sums.time("reward", 0);
      sums.bytes("weights to the samplers", to_samplers * rollouts);
      sums.bytes("all_to_all, decoding", rollout->bytes * rollouts);
      LinkBytes reference;
      if (in.reference) {
        sums.time("reference", rollouts * reference_seconds(in, piece, work, reference));
        sums.bytes("all_to_all, reference", reference * rollouts);
      }
    }
    add_training(*step, piece.steps, sums);
    if (work.mean_tokens > longest) {
      longest = work.mean_tokens;
      out.training = *step;
      out.rollout = rollout;
      if (rollout) out.sampler_memory = sampler_memory(in.machine, in.model, *in.sampler, rollout->cached_tokens);
    }
  }
  for (const auto& [name, seconds] : out.phases) out.seconds += seconds;
  for (auto& [name, seconds] : out.phases) seconds /= std::max(1.0, out.steps);
  for (auto& [name, bytes] : out.links) bytes = bytes * (1 / std::max(1.0, out.steps));
  return out;
}

}  // namespace r1::pipeline
