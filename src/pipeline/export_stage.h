#pragma once
#include "r1/pipeline/model_transfer.h"
#include "r1/train/stage.h"

namespace r1::pipeline {

/// A stage of kind `export`: writes the model of an earlier stage as a HF folder or GGUF file under the run directory.
/// One step; run again after a kill it replaces what is there.
class ExportStage : public train::Stage {
 public:
  /// Of the ranks the first one writes.
  ExportStage(ModelTransfer transfer, std::shared_ptr<dist::Communicator> ranks) : transfer_(std::move(transfer)), ranks_(std::move(ranks)) {
    transfer_.force = true;
  }

  int64_t total_steps() const override { return 1; }
  int64_t steps_done() const override { return step_; }
  train::Metrics advance() override;
  std::string progress_note() const override { return wrote_; }
  train::Metrics evaluate_if_due() override { return {}; }
  std::vector<train::CheckpointGroup> checkpoint_groups() override { return {}; }
  nlohmann::json checkpoint_state() const override { return {{"step", step_}, {"wrote", wrote_}}; }
  void restore(const train::CheckpointReader& reader) override;
  nlohmann::json summary() const override { return {{"steps", step_}, {"wrote", wrote_}}; }
  train::Usage usage() const override { return {}; }  // its seconds are the ledger's `other`

 private:
  ModelTransfer transfer_;
  std::shared_ptr<dist::Communicator> ranks_;
  int64_t step_ = 0;
  std::string wrote_;
};

}  // namespace r1::pipeline
