#include <algorithm>

#include "r1/model/transformer.h"
#include "r1/pipeline/run_config.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

// Floats per packed token that the backward pass of one layer keeps: norms' inputs and outputs, q, attention's pages and
// output, gate, up and their product.
int64_t activation_floats(const model::ModelConfig& m) {
  return 4 * m.hidden_size + 2 * m.num_heads * m.head_dim + 2 * m.num_kv_heads * m.head_dim + 3 * m.intermediate_size;
}

std::string memory_line(const model::ModelConfig& m, const train::UpdateConfig& update, bool reference, int64_t kv_bytes) {
  const double weights = 4.0 * static_cast<double>(m.num_parameters());
  const int64_t layers_kept = update.activation_checkpointing ? 1 : m.num_layers;
  const double per_token = 4.0 * static_cast<double>(activation_floats(m) * layers_kept +
                                                     (update.activation_checkpointing ? m.num_layers * m.hidden_size : 0));
  const double activations = per_token * static_cast<double>(update.micro_batch_tokens);
  const double logits = std::min(64.0 * (1 << 20), 4.0 * static_cast<double>(m.vocab_size * update.micro_batch_tokens));
  const double packed = kv_bytes > 0 ? weights : 0;
  const double total = weights * (reference ? 5 : 4) + packed + activations + logits + static_cast<double>(kv_bytes);
  std::string text = cat("  memory  weights ", human_bytes(weights), ", gradients ", human_bytes(weights), ", AdamW ",
                         human_bytes(2 * weights));
  if (reference) text += cat(", reference ", human_bytes(weights));
  if (packed > 0) text += cat(", weights in decoding order ", human_bytes(packed));
  text += cat(", activations up to ", human_bytes(activations), " (", update.micro_batch_tokens, " tokens), logits ", human_bytes(logits));
  if (kv_bytes > 0) text += cat(", KV cache up to ", human_bytes(static_cast<double>(kv_bytes)));
  return text + cat("; together up to ", human_bytes(total), "\n");
}

// The largest KV cache that so many sequences can ask for.
int64_t kv_bytes(const model::ModelConfig& m, const rollout::EngineConfig& engine, int64_t sequences) {
  const int64_t pages = std::min(engine.max_batch, sequences) * ((m.max_positions + 15) / 16);
  return std::min(pages * model::KvCache::bytes_per_page(m), engine.kv_cache_bytes);
}

std::string model_line(const StageEntry& stage) {
  const auto& m = stage.model.config;
  return cat("model    ", m.architecture, ", ", human_count(static_cast<double>(m.num_parameters())), " parameters (", m.num_layers,
             " layers, width ", m.hidden_size, ", ", m.num_heads, "/", m.num_kv_heads, " heads, vocabulary ", m.vocab_size, "), float32",
             stage.model.path.empty() ? ", new weights" : ", from " + stage.model.path.string(), "\n");
}

}  // namespace

std::string describe_plan(const RunConfig& c) {
  std::string text = cat("run      ", c.name, " -> ", c.run_dir.string(), "\n");
  for (const auto& stage : c.stages) {
    const auto& m = stage.model.config;
    if (stage.from.empty()) text += model_line(stage);
    text += cat("stage    ", stage.name, " (", stage.kind, ")", stage.from.empty() ? "" : ", from " + stage.from, "\n");
    if (const auto* entry = std::get_if<TextStageEntry>(&stage.config)) {
      const auto& t = entry->config;
      text += cat("  batch   ", t.steps, " steps x ", t.texts_per_step, " texts = ", t.steps * t.texts_per_step,
                  " texts; micro-batches of up to ", t.update.micro_batch_tokens, " packed tokens\n");
      text += memory_line(m, t.update, false, t.eval ? kv_bytes(m, t.engine, t.eval->problems) : 0);
      continue;
    }
    if (const auto* r = std::get_if<train::RejectionConfig>(&stage.config)) {
      text += cat("  batch   ", r->prompts, " prompts x ", r->samples, " completions, up to ", r->sampling.max_completion_tokens,
                  " tokens each; at most ", r->keep_per_prompt, " kept per prompt\n");
      const double weights = 4.0 * static_cast<double>(m.num_parameters());
      const auto kv = static_cast<double>(kv_bytes(m, r->engine, r->prompts_per_step * r->samples));
      text += cat("  memory  weights ", human_bytes(weights), ", in decoding order ", human_bytes(weights), ", KV cache up to ",
                  human_bytes(kv), "; together up to ", human_bytes(2 * weights + kv), "\n");
      continue;
    }
    if (const auto* r = std::get_if<RewardModelEntry>(&stage.config)) {
      text += cat("  batch   ", r->config.steps, " steps x ", r->config.examples_per_step, " preferences = ",
                  r->config.steps * r->config.examples_per_step, "; micro-batches of up to ", r->config.update.micro_batch_tokens,
                  " packed tokens\n");
      text += memory_line(m, r->config.update, false, 0);
      continue;
    }
    if (const auto* e = std::get_if<EvalEntry>(&stage.config)) {
      text += cat("  batch   ", e->eval.problems, " held-out problems, up to ", e->eval.sampling.max_completion_tokens, " tokens each\n");
      continue;
    }
    if (const auto* e = std::get_if<ExportEntry>(&stage.config)) {
      text += cat("  writes  ", (c.run_dir / e->path).string(), ", ", e->dtype, "\n");
      continue;
    }
    const auto& g = std::get<train::GrpoStageConfig>(stage.config);
    const int64_t prompts = g.prompts_per_step * g.steps_per_rollout;
    text += cat("  batch   ", g.steps / g.steps_per_rollout, " rollouts x ", prompts, " prompts x ", g.group_size, " completions = ",
                prompts * g.group_size, " completions a rollout, up to ", g.sampling.max_completion_tokens, " tokens each; ",
                g.steps_per_rollout, g.steps_per_rollout == 1 ? " update" : " updates", " of ", g.prompts_per_step * g.group_size,
                " completions per rollout, data up to ", g.steps_per_rollout - 1, " updates old; ", g.steps,
                " updates in all; micro-batches of up to ", g.update.micro_batch_tokens, " packed tokens\n");
    text += memory_line(m, g.update, g.loss.kl_coef > 0, kv_bytes(m, g.engine, prompts * g.group_size));
  }
  return text;
}

}  // namespace r1::pipeline
