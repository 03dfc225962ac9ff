#pragma once
#include "r1/train/evaluation.h"
#include "r1/train/stage.h"

namespace r1::train {

/// A stage of kind `eval`: the model that it names answers the held-out problems; no training. One step.
class EvalStage : public Stage {
 public:
  EvalStage(StageContext context, const rollout::EngineConfig& engine, Evaluator evaluator);
  ~EvalStage() override;

  int64_t total_steps() const override { return 1; }
  int64_t steps_done() const override { return step_; }
  Metrics advance() override;
  std::string progress_note() const override { return ""; }
  Metrics evaluate_if_due() override { return {}; }
  std::vector<CheckpointGroup> checkpoint_groups() override { return {}; }
  nlohmann::json checkpoint_state() const override;
  void restore(const CheckpointReader& reader) override;
  nlohmann::json summary() const override;
  Usage usage() const override;

 private:
  StageContext context_;
  Evaluator evaluator_;
  rollout::Engine engine_;
  int64_t step_ = 0;
};

}  // namespace r1::train
