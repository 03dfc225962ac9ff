#include "plan_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "r1/ops/cache.h"

namespace r1::pipeline {
namespace {

constexpr double kLogitRows = 128;  // rows whose logits exist at a time: ops::linear_logprob
// Code pages and thread buffers of LibTorch and of our kernels that are first touched when a model computes.
constexpr double kComputingBytes = 60e6;

const train::UpdateConfig* update_of(const StageEntry& entry) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) return &text->config.update;
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) return &grpo->update;
  if (const auto* reward = std::get_if<RewardModelEntry>(&entry.config)) return &reward->config.update;
  return nullptr;
}

const rollout::EngineConfig* engine_of(const StageEntry& entry) {
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) return &grpo->engine;
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) return &rejection->engine;
  if (const auto* eval = std::get_if<EvalEntry>(&entry.config)) return &eval->engine;
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  return text != nullptr && text->config.eval ? &text->config.engine : nullptr;
}

// Completions of one call of the engine.
double completions_at_once(const StageEntry& entry) {
  if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) {
    return static_cast<double>(std::max(grpo->prompts_per_step * grpo->steps_per_rollout * grpo->group_size, grpo->eval.problems));
  }
  if (const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config)) {
    return static_cast<double>(rejection->prompts_per_step * rejection->samples);
  }
  if (const auto* eval = std::get_if<EvalEntry>(&entry.config)) return static_cast<double>(eval->eval.problems);
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  return text != nullptr && text->config.eval ? static_cast<double>(text->config.eval->problems) : 0;
}

// Numbers that the backward pass of one layer keeps per token: inputs and outputs of both norms and the block's input (4 C),
// q, k, v and the attention's output, gate, up and their product, the normaliser of every head.
double activation_values(const ModelShape& m) {
  return static_cast<double>(4 * m.hidden_size + m.num_heads * (m.key_width + m.value_width + 1) + m.cache_values_per_layer + 3 * m.intermediate_size);
}

}  // namespace

ModelShape shape_of(const StageEntry& entry) { return entry.model.shape ? *entry.model.shape : ModelShape::of(entry.model.config); }

double concurrent_sequences(const StageEntry& entry, int64_t replicas) {
  const auto* engine = engine_of(entry);
  if (engine == nullptr) return 0;
  return std::min(static_cast<double>(engine->max_batch), std::ceil(completions_at_once(entry) / static_cast<double>(replicas)));
}

double micro_batch_tokens(const StageEntry& entry, const Lengths& lengths) {
  const auto* update = update_of(entry);
  if (update == nullptr) return 0;
  double longest = lengths.text, step = lengths.text;
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    step *= static_cast<double>(text->config.texts_per_step);
  } else if (const auto* reward = std::get_if<RewardModelEntry>(&entry.config)) {
    step *= 2 * static_cast<double>(reward->config.examples_per_step);
  } else if (const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config)) {
    longest = lengths.prompt + lengths.longest;
    step = static_cast<double>(grpo->prompts_per_step) * (lengths.prompt + static_cast<double>(grpo->group_size) * (lengths.completion - 1));
  }
  // A single text that is longer than the limit stands alone.
  return std::max(longest, std::min(step, static_cast<double>(update->micro_batch_tokens)));
}

MemoryItems stage_memory(const StageEntry& entry, const Lengths& lengths, const Hardware& h, int64_t devices, int64_t replica) {
  const auto m = shape_of(entry);
  const auto all = static_cast<double>(devices), shared = static_cast<double>(replica);
  const double head = static_cast<double>(m.vocab_size * m.hidden_size);
  MemoryItems items;
  const auto add = [&](const char* name, double bytes) {
    if (bytes > 0) items.emplace_back(name, bytes);
  };
  add("weights", m.total_parameters * h.weight_bytes / shared);
  const auto* update = update_of(entry);
  if (update != nullptr) {
    add("master weights", m.total_parameters * h.master_bytes / all);
    add("gradients", m.total_parameters * h.gradient_bytes / shared);
    add("optimizer", m.total_parameters * h.moment_bytes / all);
    const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config);
    if (grpo != nullptr && grpo->loss.kl_coef > 0) add("reference", m.total_parameters * h.weight_bytes / shared);
    if (grpo != nullptr && grpo->preference) add("reward model", m.total_parameters * h.weight_bytes / shared);
    const double tokens = micro_batch_tokens(entry, lengths), per_layer = activation_values(m);
    const auto layers = static_cast<double>(m.num_layers);
    const double kept = update->activation_checkpointing ? layers * static_cast<double>(m.hidden_size) + per_layer : layers * per_layer;
    // While one layer goes back, gradients of its activations; the embedding's and the head's gradients before they are added.
    add("activations", tokens * kept * h.activation_bytes / shared);
    add("backward pass", (tokens * static_cast<double>(3 * m.intermediate_size + 3 * m.hidden_size) * h.activation_bytes +
                          (m.tie_embeddings ? 2 : 1) * head * h.gradient_bytes) / shared);
    add("logits", 2 * std::min(kLogitRows, tokens) * static_cast<double>(m.vocab_size) * 4 / shared);
  }
  if (const auto* engine = engine_of(entry)) {
    if (h.decoding_copies) add("decoding copies", (m.flops().block_parameters + head) * h.weight_bytes / shared);
    const double page = static_cast<double>(ops::page_tokens());
    const double sequences = concurrent_sequences(entry, devices / replica), prompts = std::max(1.0, sequences / 8);
    // Mean length of a sequence that is being decoded: half of its completion is there.
    const double pages = sequences * std::ceil((lengths.prompt + lengths.completion) / page) + prompts;
    const double bytes = pages * page * static_cast<double>(m.cache_values_per_layer * m.num_layers) * h.cache_bytes;
    add("KV cache", std::min(bytes, static_cast<double>(engine->kv_cache_bytes)) / shared);
    if (update == nullptr) add("logits", sequences * static_cast<double>(m.vocab_size) * 4 / shared);
  }
  add("program", devices == 1 && h.memory_bytes == 0 ? resident_bytes() + kComputingBytes : 1.5e9);
  return items;
}

double machine_memory_bytes() {
  const double installed = static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  double limit = 0;  // cgroup v2: a number, or "max", or no file
  if (std::ifstream in("/sys/fs/cgroup/memory.max"); in >> limit) return std::min(limit, installed);
  return installed;
}

double resident_bytes() {
  double total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

}  // namespace r1::pipeline
