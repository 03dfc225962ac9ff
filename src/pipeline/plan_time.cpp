#include "plan_time.h"

#include <algorithm>
#include <cmath>

#include "plan_memory.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

struct Machine {
  const Hardware& h;
  double devices, replica;
  double replicas() const { return devices / replica; }
};

double forward_seconds(const Machine& m, double flops) { return flops / (m.devices * m.h.flops * m.h.forward_utilisation); }
double training_seconds(const Machine& m, double flops) { return flops / (m.devices * m.h.flops * m.h.train_utilisation); }

// One update beside its FLOPs: AdamW reads weight, gradient and moments and writes weight and moments, and with more than one
// replica gradients are summed and weights handed out over the network.
double optimizer_seconds(const Machine& m, const ModelShape& shape) {
  const double per_parameter = 2 * (std::max(m.h.master_bytes, m.h.weight_bytes) + m.h.moment_bytes) + m.h.gradient_bytes;
  double seconds = shape.total_parameters * per_parameter / (m.devices * m.h.bytes_per_s);
  if (m.replicas() > 1 && m.h.network_bytes_per_s > 0) {
    seconds += shape.total_parameters / m.replica * (m.h.gradient_bytes + m.h.weight_bytes) / m.h.network_bytes_per_s;
  }
  return seconds;
}

// Prefill once per prompt, then decoding: every step reads the weights once and costs a fixed time per layer, and as many
// steps are needed as the longest completion has tokens, or as the batches that fit need one after the other. What each token
// adds is its FLOPs, or its share of the cache's bytes, whichever takes longer.
struct Rollout {
  double seconds = 0, flops = 0, step_s = 0;
};
Rollout rollout(const Machine& m, const ModelShape& shape, const StageEntry& entry, const Lengths& l, double prompts, double completions) {
  const auto cost = shape.flops();
  auto prefill = model::counts_of(prompts, 0, l.prompt);
  prefill.logit_rows = prompts;
  const auto decode = model::counts_of(completions, l.prompt, std::max(0.0, l.completion - 1));
  Rollout out;
  out.flops = model::forward_flops(cost, prefill) + model::forward_flops(cost, decode);
  const double layers = static_cast<double>(shape.num_layers);
  const double weights_s = shape.total_parameters * m.h.weight_bytes / m.replica / (m.h.bytes_per_s * m.h.bandwidth_utilisation);
  const double fixed_s = layers * m.h.decode_layer_s + (m.replica > 1 ? static_cast<double>(shape.expert_layers) * m.h.exchange_s : 0.0);
  out.step_s = (weights_s + fixed_s) / entry.plan.tokens_per_decode_step;
  const double at_once = concurrent_sequences(entry, static_cast<int64_t>(m.replicas())) * m.replicas();
  const double steps = std::max(l.longest, std::ceil(completions / std::max(1.0, at_once)) * l.completion);
  const double cache_bytes = decode.attended * static_cast<double>(shape.cache_values_per_layer) * layers * m.h.cache_bytes;
  const double tokens_s = std::max(forward_seconds(m, model::forward_flops(cost, decode)), cache_bytes / (m.devices * m.h.bytes_per_s * m.h.bandwidth_utilisation));
  out.seconds = forward_seconds(m, model::forward_flops(cost, prefill)) + steps * out.step_s + tokens_s;
  return out;
}

void add_rollout(StagePlan& stage, const Rollout& r, double times, double tokens) {
  stage.rollout_s += times * r.seconds;
  stage.flops += times * r.flops;
  stage.sampled_tokens += times * tokens;
  stage.decode_step_s = r.step_s;
}

void add_evaluations(const Machine& m, const ModelShape& shape, const StageEntry& entry, const Lengths& l, const train::EvalConfig& eval, double steps,
                     StagePlan& stage) {
  const auto edge = static_cast<double>(eval.problems), during = static_cast<double>(eval.problems_during);
  add_rollout(stage, rollout(m, shape, entry, l, edge, edge), 2, edge * l.completion);
  if (eval.every_steps == 0) return;
  const double between = std::max(0.0, std::ceil(steps / static_cast<double>(eval.every_steps)) - 1);
  add_rollout(stage, rollout(m, shape, entry, l, during, during), between, during * l.completion);
}

void plan_text(const Machine& m, const ModelShape& shape, const StageEntry& entry, const TextStageEntry& text, const Lengths& l, StagePlan& stage) {
  auto config = text.config;
  if (l.texts > 0) config.resolve_epochs(l.texts);
  const double steps = static_cast<double>(config.steps), texts = steps * static_cast<double>(config.texts_per_step);
  const auto counts = model::counts_of(texts, 0, l.text);
  stage.trained_tokens = counts.tokens;
  const double flops = model::training_flops(shape.flops(), counts, config.update.activation_checkpointing);
  stage.flops += flops;
  stage.update_s = training_seconds(m, flops) + steps * optimizer_seconds(m, shape);
  if (config.epochs > 0 && steps == 0) {
    stage.batch.push_back(cat(config.epochs, " epochs x ", config.texts_per_step, " texts a step; the texts are not there yet"));
  } else {
    stage.batch.push_back(cat(config.steps, " steps x ", config.texts_per_step, " texts = ", human_count(texts), " texts; micro-batches of up to ",
                              config.update.micro_batch_tokens, " packed tokens"));
  }
  if (config.eval) add_evaluations(m, shape, entry, l, *config.eval, steps, stage);
}

void plan_rejection(const Machine& m, const ModelShape& shape, const StageEntry& entry, const train::RejectionConfig& r, const Lengths& l, StagePlan& stage) {
  const auto step = static_cast<double>(std::min(r.prompts_per_step, r.prompts)), samples = static_cast<double>(r.samples);
  add_rollout(stage, rollout(m, shape, entry, l, step, step * samples), static_cast<double>(r.prompts) / step, step * samples * l.completion);
  stage.batch.push_back(cat(r.prompts, " prompts x ", r.samples, " completions, up to ", r.sampling.max_completion_tokens, " tokens each; at most ",
                            r.keep_per_prompt, " kept per prompt"));
}

void plan_reward_model(const Machine& m, const ModelShape& shape, const train::RewardModelConfig& c, const Lengths& l, StagePlan& stage) {
  const auto steps = static_cast<double>(c.steps);
  auto counts = model::counts_of(2 * steps * static_cast<double>(c.examples_per_step), 0, l.text);  // a chosen and a rejected text
  counts.logit_rows = 0;
  stage.trained_tokens = counts.tokens;
  stage.flops = model::training_flops(shape.flops(), counts, c.update.activation_checkpointing);
  stage.update_s = training_seconds(m, stage.flops) + steps * optimizer_seconds(m, shape);
  stage.batch.push_back(cat(c.steps, " steps x ", c.examples_per_step, " preferences = ", c.steps * c.examples_per_step, "; micro-batches of up to ",
                            c.update.micro_batch_tokens, " packed tokens"));
}

void plan_grpo(const Machine& m, const ModelShape& shape, const StageEntry& entry, const train::GrpoStageConfig& g, const Lengths& l, StagePlan& stage) {
  const auto G = static_cast<double>(g.group_size), steps = static_cast<double>(g.steps);
  const auto updates = static_cast<double>(std::min(g.steps, g.steps_per_rollout));
  const double prompts = static_cast<double>(g.prompts_per_step) * updates;
  const double completions = static_cast<double>(g.prompts_per_step) * steps * G;
  add_rollout(stage, rollout(m, shape, entry, l, prompts, prompts * G), steps / updates, prompts * G * l.completion);
  // Training: a prompt once per group, and all of a completion but its last token.
  auto counts = model::counts_of(completions / G * (g.share_prompts ? 1 : G), 0, l.prompt);
  counts += model::counts_of(completions, l.prompt, std::max(0.0, l.completion - 1));
  counts.logit_rows = stage.trained_tokens = completions * l.completion;
  const double flops = model::training_flops(shape.flops(), counts, g.update.activation_checkpointing);
  const double reference = g.loss.kl_coef > 0 ? model::forward_flops(shape.flops(), counts) : 0;
  stage.flops += flops + reference;
  stage.reference_s = forward_seconds(m, reference);
  stage.update_s = training_seconds(m, flops) + steps * optimizer_seconds(m, shape);
  add_evaluations(m, shape, entry, l, g.eval, steps, stage);
  const int64_t rollouts = (g.steps + g.steps_per_rollout - 1) / g.steps_per_rollout, per_rollout = g.prompts_per_step * std::min(g.steps, g.steps_per_rollout);
  std::string limit = cat("up to ", g.sampling.max_completion_tokens, " tokens each");
  if (g.longer.after_step > 0) limit += cat(" (", g.longer.max_completion_tokens, " after update ", g.longer.after_step, ")");
  stage.batch.push_back(cat(rollouts, " rollouts x ", per_rollout, " prompts x ", g.group_size, " completions = ", per_rollout * g.group_size,
                            " completions a rollout, ", limit));
  stage.batch.push_back(cat(g.steps_per_rollout, g.steps_per_rollout == 1 ? " update" : " updates", " of ", g.prompts_per_step * g.group_size,
                            " completions per rollout, data up to ", g.steps_per_rollout - 1, " updates old; ", g.steps,
                            " updates in all; micro-batches of up to ", g.update.micro_batch_tokens, " packed tokens"));
}

}  // namespace

void plan_time(const StageEntry& entry, const Lengths& lengths, const Hardware& hardware, int64_t devices, int64_t replica, StagePlan& stage) {
  const Machine machine{hardware, static_cast<double>(devices), static_cast<double>(replica)};
  const auto shape = shape_of(entry);
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) plan_text(machine, shape, entry, *text, lengths, stage);
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) plan_rejection(machine, shape, entry, *rejection, lengths, stage);
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) plan_grpo(machine, shape, entry, *grpo, lengths, stage);
  if (const auto* reward = std::get_if<RewardModelEntry>(&entry.config)) plan_reward_model(machine, shape, reward->config, lengths, stage);
  if (const auto* eval = std::get_if<EvalEntry>(&entry.config)) {
    const auto problems = static_cast<double>(eval->eval.problems);
    add_rollout(stage, rollout(machine, shape, entry, lengths, problems, problems), 1, problems * lengths.completion);
    stage.batch.push_back(cat(eval->eval.problems, " held-out problems, up to ", eval->eval.sampling.max_completion_tokens, " tokens each"));
  }
  if (const auto* written = std::get_if<ExportEntry>(&entry.config)) stage.batch.push_back(cat("writes ", written->path.string(), ", ", written->dtype));
}

}  // namespace r1::pipeline
