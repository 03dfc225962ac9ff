#include "r1/train/eval_stage.h"

namespace r1::train {

EvalStage::EvalStage(StageContext context, const rollout::EngineConfig& engine, Evaluator evaluator)
    : context_(std::move(context)), evaluator_(std::move(evaluator)), engine_(context_.model, context_.tokenizer, engine) {}

EvalStage::~EvalStage() = default;

Metrics EvalStage::advance() {
  auto figures = evaluator_.if_due(engine_, context_, 1, 1);
  step_ = 1;
  return figures;
}

nlohmann::json EvalStage::checkpoint_state() const {
  return {{"step", step_}, {"evaluations", {{"rows", evaluator_.rows()}, {"seconds", evaluator_.seconds()}}}};
}

void EvalStage::restore(const CheckpointReader& reader) {
  const auto& s = reader.state();
  step_ = s.at("step");
  evaluator_.restore(s.at("evaluations").at("rows"), s.at("evaluations").at("seconds"));
}

Usage EvalStage::usage() const {
  const auto& stats = engine_.stats();
  Usage u;
  u.eval_s = evaluator_.seconds();
  u.prompt_tokens = stats.prompt_tokens;
  u.generated_tokens = stats.generated_tokens;
  u.sampling = stats.computed;
  return u;
}

nlohmann::json EvalStage::summary() const {
  return {{"steps", step_}, {"evaluations", evaluator_.rows()}, {"eval_seconds", evaluator_.seconds()}};
}

}  // namespace r1::train
