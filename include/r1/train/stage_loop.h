#pragma once
#include "r1/train/checkpoint.h"
#include "r1/train/stage.h"

namespace r1::train {

/// Thrown after a stop signal, when the running step has ended and a checkpoint is written.
struct Interrupted {
  int signal;
};

struct StageLoopOptions {
  CheckpointPolicy checkpoint;
  bool resume = false;  ///< go on from the newest complete checkpoint of the stage, if there is one
  Account account = {};  ///< told what was spent after restoring, after every advance and at the end
};

/// Runs a stage to its end: evaluation, metrics, checkpoints under <run_dir>/checkpoints/<stage>/, progress.
/// A checkpoint follows the metrics of its step, and a resumed run first drops the metrics after its checkpoint, so both
/// always agree. Throws Interrupted after SIGINT or SIGTERM. Returns the stage's summary with its wall-clock "seconds".
nlohmann::json run_stage(Stage& stage, StageContext& context, const StageLoopOptions& options);

}  // namespace r1::train
