#include "plan_memory.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "r1/ops/cache.h"

namespace r1::pipeline {
namespace {

constexpr double kLogitBytes = 64 << 20;  // of the logits that exist at a time: Transformer::logprobs
// What malloc holds and cannot use, of all that comes and goes (activations, gradients of theirs, KV cache, logits); weights and
// what lies beside them are allocated once. Measured: 9 to 29 % (docs/plan.md).
constexpr double kHeapLoss = 0.20;
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

// Numbers that the backward pass of one layer keeps per token: inputs and outputs of both norms (4 C), q and the attention's
// output, its keys and values in pages (`slots` places per token), gate, up and their product, the normaliser of every head.
double activation_values(const ModelShape& m, double slots) {
  return static_cast<double>(4 * m.hidden_size + m.num_heads * (m.key_width + m.value_width + 1) + 3 * m.intermediate_size) +
         slots * static_cast<double>(m.cache_values_per_layer);
}

// Packed tokens of an update, and the places that pages have for their keys and values: a completion begins in a page of its own
// with what the prompt's whole pages leave over.
struct UpdateSize {
  double tokens = 0, slots = 0;
};
double places(double tokens) { return std::ceil(tokens / static_cast<double>(ops::page_tokens())) * static_cast<double>(ops::page_tokens()); }
double beyond_whole_pages(double prompt) { return std::fmod(prompt, static_cast<double>(ops::page_tokens())); }

UpdateSize update_size(const StageEntry& entry, const Lengths& l) {
  if (const auto* text = std::get_if<TextStageEntry>(&entry.config)) {
    const auto texts = static_cast<double>(text->config.texts_per_step);
    return {texts * l.text, texts * (places(l.text) + (text->config.train_on_prompt ? places(1) : 0))};
  }
  if (const auto* reward = std::get_if<RewardModelEntry>(&entry.config)) {
    const auto texts = 2 * static_cast<double>(reward->config.examples_per_step);
    return {texts * l.text, texts * places(l.text)};
  }
  const auto& g = std::get<train::GrpoStageConfig>(entry.config);
  const double prompts = static_cast<double>(g.prompts_per_step), own = std::max(0.0, l.completion - 1), completions = prompts * static_cast<double>(g.group_size);
  return {prompts * l.prompt + completions * own, prompts * places(l.prompt) + completions * places(beyond_whole_pages(l.prompt) + own)};
}

// Pages of the KV cache that are written: `sequences` decode together, `per_prompt` of each prompt.
double cache_tokens(double sequences, double per_prompt, const Lengths& l) {
  const double rest = beyond_whole_pages(l.prompt);
  return sequences * places(rest + l.completion) + std::ceil(sequences / per_prompt) * (l.prompt - rest);
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
  const bool grpo = std::holds_alternative<train::GrpoStageConfig>(entry.config);
  const double longest = grpo ? lengths.prompt + lengths.longest : lengths.text, step = update_size(entry, lengths).tokens;
  // A single text that is longer than the limit stands alone.
  return std::min(step, std::max(longest, static_cast<double>(update->micro_batch_tokens)));
}

MemoryItems stage_memory(const StageEntry& entry, const Lengths& lengths, const Hardware& h, int64_t devices, int64_t replica) {
  const auto m = shape_of(entry);
  const auto all = static_cast<double>(devices), shared = static_cast<double>(replica);
  const double parameters = m.total_parameters + m.mtp_parameters, layers = static_cast<double>(m.num_layers) + (m.mtp_parameters > 0 ? 1 : 0);
  const double head = static_cast<double>(m.vocab_size * m.hidden_size);
  const double vocabulary_row = 4 * static_cast<double>(m.vocab_size);
  double logits = 0;
  MemoryItems items;
  const auto add = [&](const char* name, double bytes) {
    if (bytes > 0) items.emplace_back(name, bytes);
  };
  add("weights", parameters * h.weight_bytes / shared);
  const auto* update = update_of(entry);
  if (update != nullptr) {
    add("master weights", parameters * h.master_bytes / all);
    add("optimizer", parameters * h.moment_bytes / all);
    const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config);
    if (grpo != nullptr && grpo->loss.kl_coef > 0) add("reference", m.total_parameters * h.weight_bytes / shared);
    if (grpo != nullptr && grpo->preference) add("reward model", m.total_parameters * h.weight_bytes / shared);
    const auto size = update_size(entry, lengths);
    const double tokens = micro_batch_tokens(entry, lengths), per_layer = activation_values(m, size.slots / size.tokens);
    const double kept = update->activation_checkpointing ? layers * static_cast<double>(m.hidden_size) + per_layer : layers * per_layer;
    const double activations = tokens * kept * h.activation_bytes / shared, gradients = parameters * h.gradient_bytes / shared;
    // The gradients of an only micro-batch take the place of the activations, which the backward pass gives back on its way.
    const bool in_their_place = devices == 1 && size.tokens <= tokens;
    add("gradients", in_their_place ? std::max(0.0, gradients - activations) : gradients);
    add("activations", activations);
    // While one layer goes back, the gradients of its activations; the head's gradient, and the embedding's before they are added.
    add("backward pass", std::max(tokens * static_cast<double>(3 * m.intermediate_size + 3 * m.hidden_size) * h.activation_bytes,
                                  (m.tie_embeddings && !in_their_place ? 2 : 1) * head * h.gradient_bytes) / shared);
    logits = std::min(std::max(kLogitBytes, 16 * vocabulary_row), tokens * vocabulary_row) / shared;
  }
  if (const auto* engine = engine_of(entry)) {
    if (h.decoding_copies) add("decoding copies", (m.flops().block_parameters + m.mtp_parameters + head) * h.weight_bytes / shared);
    const double sequences = concurrent_sequences(entry, devices / replica);
    const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config);
    const auto* rejection = std::get_if<train::RejectionConfig>(&entry.config);
    const double group = grpo != nullptr ? static_cast<double>(grpo->group_size) : rejection != nullptr ? static_cast<double>(rejection->samples) : 1;
    double cached = cache_tokens(sequences, group, lengths);
    if (grpo != nullptr) {
      cached = std::max(cached, cache_tokens(std::min(sequences, static_cast<double>(grpo->eval.problems)), 1, lengths));
    }
    const double bytes = cached * static_cast<double>(m.cache_values_per_layer) * layers * h.cache_bytes;
    add("KV cache", std::min(bytes, static_cast<double>(engine->kv_cache_bytes)) / shared);
    logits = std::max(logits, 2 * sequences * vocabulary_row / shared);  // and what drawing from them needs
  }
  add("logits", logits);
  const bool this_machine = devices == 1 && h.memory_bytes == 0;
  if (this_machine) {
    double passing = 0;
    for (const auto& [name, bytes] : items) {
      if (name == "activations" || name == "backward pass" || name == "KV cache" || name == "logits") passing += bytes;
    }
    add("heap", kHeapLoss * passing);
  }
  add("program", this_machine ? resident_bytes() + kComputingBytes : 1.5e9);
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
