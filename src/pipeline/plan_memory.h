#pragma once
#include "plan_lengths.h"
#include "r1/pipeline/plan.h"

namespace r1::pipeline {

/// The shape that a stage works on.
ModelShape shape_of(const StageEntry& entry);

/// Bytes on one device while the stage runs, when `replica` devices share one copy of the weights and the optimizer's
/// state is divided among all `devices`. Formulas: docs/plan.md.
MemoryItems stage_memory(const StageEntry& entry, const Lengths& lengths, const Hardware& hardware, int64_t devices, int64_t replica);

/// Sequences that one replica decodes together, and packed tokens that it computes together in training.
double concurrent_sequences(const StageEntry& entry, int64_t replicas);
double micro_batch_tokens(const StageEntry& entry, const Lengths& lengths);

/// Physical memory of this machine, or the limit of its container, in bytes.
double machine_memory_bytes();
/// What this process has in memory now.
double resident_bytes();

}  // namespace r1::pipeline
