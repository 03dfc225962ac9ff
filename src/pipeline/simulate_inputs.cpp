#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "simulate_stage.h"

namespace r1::pipeline {
namespace {

constexpr int64_t kPieces = 26;  // of a stage whose lengths change, one per 400 updates of R1-Zero

double on_curve(const StageAssumptions& said, double step) {
  const auto& x = said.curve_steps;
  const auto& y = said.curve_tokens;
  size_t next = 0;
  while (next < x.size() && x[next] <= step) ++next;
  if (next == 0) return y.front();
  if (next == x.size()) return y.back();
  return y[next - 1] + (y[next] - y[next - 1]) * (step - x[next - 1]) / (x[next] - x[next - 1]);
}

std::vector<StagePiece> pieces_of(const StageEntry& entry, const train::GrpoStageConfig& g, const Lengths& lengths) {
  const auto& said = entry.plan;
  const bool changes = !said.curve_steps.empty() || (g.longer.after_step > 0 && g.longer.after_step < g.steps);
  const int64_t count = changes ? std::min(kPieces, g.steps) : 1;
  std::vector<StagePiece> out;
  for (int64_t i = 0; i < count; ++i) {
    StagePiece piece;
    piece.steps = static_cast<double>(g.steps) / static_cast<double>(count);
    const double at = (static_cast<double>(i) + 0.5) * piece.steps;
    piece.limit = static_cast<double>(g.sampling_after(static_cast<int64_t>(at)).max_completion_tokens);
    piece.completion = std::min(piece.limit, said.curve_steps.empty() ? lengths.completion : on_curve(said, at));
    piece.longest = said.longest_tokens > 0 ? std::min(said.longest_tokens, piece.limit) : piece.limit;
    piece.longest = std::max(piece.longest, piece.completion);
    out.push_back(piece);
  }
  return out;
}

}  // namespace

std::optional<StageInputs> stage_inputs(const StageEntry& entry, const Lengths& lengths, const Machine& machine) {
  const auto* text = std::get_if<TextStageEntry>(&entry.config);
  const auto* grpo = std::get_if<train::GrpoStageConfig>(&entry.config);
  if (text == nullptr && grpo == nullptr) return std::nullopt;
  if (entry.model.shape && !entry.model.shape->config) {
    throw Error(cat("stage '", entry.name, "': of ", entry.model.shape->name, " only counts are known; accepted for --simulate: a shape with architecture: and its keys.\n  "
                    "configs/models/deepseek_v3_671b.yaml and deepseek_v2_lite_16b.yaml are such files."));
  }
  StageInputs in;
  in.machine = machine;
  in.model = ModelParts::of(entry.model.shape ? *entry.model.shape->config : entry.model.config);
  in.rl = grpo != nullptr;
  const auto& update = text != nullptr ? text->config.update : grpo->update;
  in.micro_batch_tokens = static_cast<double>(update.micro_batch_tokens);
  in.checkpointing = update.activation_checkpointing;
  in.mtp = (text != nullptr ? text->config.mtp : grpo->mtp).loss_weight > 0;
  if (text != nullptr) {
    auto config = text->config;
    if (lengths.texts > 0) config.resolve_epochs(lengths.texts);
    in.texts = static_cast<double>(config.texts_per_step);
    in.text_tokens = lengths.text;
    in.pieces = {{static_cast<double>(config.steps), 0, 0, 0}};
    return in;
  }
  in.prompts = static_cast<double>(grpo->prompts_per_step);
  in.group = static_cast<double>(grpo->group_size);
  in.prompt_tokens = lengths.prompt;
  in.steps_per_rollout = static_cast<double>(std::min(grpo->steps, grpo->steps_per_rollout));
  in.tokens_per_decode_step = entry.plan.tokens_per_decode_step;
  in.max_batch = static_cast<double>(grpo->engine.max_batch);
  in.reference = grpo->loss.kl_coef > 0;
  in.pieces = pieces_of(entry, *grpo, lengths);
  return in;
}

}  // namespace r1::pipeline
