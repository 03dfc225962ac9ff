#include "export_stage.h"

#include "r1/pipeline/model_files.h"
#include "r1/train/checkpoint.h"

namespace r1::pipeline {

train::Metrics ExportStage::advance() {
  ranks_->together("export", [&] {
    if (!ranks_->is_first()) return;
    std::filesystem::create_directories(transfer_.target.parent_path());
    wrote_ = transfer_.run();
  });
  step_ = 1;
  return {{"bytes", static_cast<double>(bytes_on_disk(transfer_.target))}};
}

void ExportStage::restore(const train::CheckpointReader& reader) {
  step_ = reader.state().at("step");
  wrote_ = reader.state().at("wrote");
}

}  // namespace r1::pipeline
