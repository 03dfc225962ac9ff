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

std::string memory_line(const RunConfig& c, const train::UpdateConfig& update, bool reference, int64_t kv_bytes) {
  const double weights = 4.0 * static_cast<double>(c.model.num_parameters());
  const int64_t layers_kept = update.activation_checkpointing ? 1 : c.model.num_layers;
  const double per_token = 4.0 * static_cast<double>(activation_floats(c.model) * layers_kept +
                                                     (update.activation_checkpointing ? c.model.num_layers * c.model.hidden_size : 0));
  const double activations = per_token * static_cast<double>(update.micro_batch_tokens);
  const double logits = std::min(64.0 * (1 << 20), 4.0 * static_cast<double>(c.model.vocab_size * update.micro_batch_tokens));
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

}  // namespace

std::string describe_plan(const RunConfig& c) {
  std::string text = cat("run      ", c.name, " -> ", c.run_dir.string(), "\nmodel    ", c.model.architecture, ", ",
                         human_count(static_cast<double>(c.model.num_parameters())), " parameters (", c.model.num_layers,
                         " layers, width ", c.model.hidden_size, ", ", c.model.num_heads, "/", c.model.num_kv_heads, " heads, vocabulary ",
                         c.model.vocab_size, "), float32", c.model_path.empty() ? ", new weights" : ", from " + c.model_path.string(), "\n");
  for (const auto& stage : c.stages) {
    text += cat("stage    ", stage.name, " (", stage.kind, ")\n");
    if (const auto* entry = std::get_if<TextStageEntry>(&stage.config)) {
      const auto& t = entry->config;
      text += cat("  batch   ", t.steps, " steps x ", t.texts_per_step, " texts = ", t.steps * t.texts_per_step,
                  " texts; micro-batches of up to ", t.update.micro_batch_tokens, " packed tokens\n");
      text += memory_line(c, t.update, false, 0);
      continue;
    }
    const auto& g = std::get<train::GrpoStageConfig>(stage.config);
    const int64_t prompts = g.prompts_per_step * g.steps_per_rollout;
    text += cat("  batch   ", g.steps / g.steps_per_rollout, " rollouts x ", prompts, " prompts x ", g.group_size, " completions = ",
                prompts * g.group_size, " completions a rollout, up to ", g.sampling.max_completion_tokens, " tokens each; ",
                g.steps_per_rollout, g.steps_per_rollout == 1 ? " update" : " updates", " of ", g.prompts_per_step * g.group_size,
                " completions per rollout, data up to ", g.steps_per_rollout - 1, " updates old; ", g.steps,
                " updates in all; micro-batches of up to ", g.update.micro_batch_tokens, " packed tokens\n");
    const int64_t per_sequence = (c.model.max_positions + 15) / 16;
    const int64_t wanted = std::min(g.engine.max_batch, prompts * g.group_size) * per_sequence * model::KvCache::bytes_per_page(c.model);
    text += memory_line(c, g.update, g.loss.kl_coef > 0, std::min(wanted, g.engine.kv_cache_bytes));
  }
  return text;
}

}  // namespace r1::pipeline
