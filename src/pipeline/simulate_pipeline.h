#pragma once
#include <string>
#include <vector>

#include "simulate_chunk.h"

namespace r1::pipeline {

/// One optimizer step's forward and backward passes on a pipeline, as means over its ranks. The parts add up to `seconds`.
struct PipelineTime {
  double seconds = 0;            ///< until the last rank is done
  double forward = 0, backward = 0, weight = 0;  ///< computing, as if alone on the device
  double shared_device = 0;      ///< what products lose to the multiprocessors of an all_to_all beside them
  double exchange_exposed = 0;   ///< all_to_all with nothing beside it
  double bubble = 0;             ///< waiting for other ranks
  /// The same time by kind of chunk, as DeepSeek-AI's Table 4 (arXiv:2505.09343) has it.
  double forward_alone = 0, backward_alone = 0, weight_alone = 0, together = 0;
  std::string schedule;
};

/// Cuts units (layers, head) into `stages` runs of whole ones such that the slowest run is as fast as can be, by computing time
/// alone when all_to_all is `hidden`.
std::vector<ChunkTime> cut_into_stages(const std::vector<ChunkTime>& units, int64_t stages, bool hidden);

/// Runs `micro_batches` through the stages by events: each rank goes through its list of chunks in order, and a chunk waits for the
/// activations or gradients of the neighbour, which take `send_s` on the way.
///
/// dual: DualPipe (arXiv:2412.19437v2, 3.2.1; the order of its published program): micro-batches enter from both ends, rank r has stages
/// r and P - 1 - r, and a forward chunk runs beside a backward chunk: max(beside_exchange(all computing), both exchanges). It needs
/// an even number of stages and an even number of micro-batches, at least 2 P; `can_run_dual` says whether it is so.
/// Otherwise 1F1B, whose chunks run alone; with a single stage a forward pass runs beside the backward pass of the micro-batch before.
PipelineTime run_pipeline(const Machine& machine, const std::vector<ChunkTime>& stages, int64_t micro_batches, double send_s, bool dual);
bool can_run_dual(int64_t stages, int64_t micro_batches);

/// The bubble of DualPipe with equal stages: (P/2 - 1)(F&B + B - 3 W), B the whole backward chunk (arXiv:2412.19437v2, Table 2).
double dual_bubble(int64_t stages, double together, double backward, double weight);

}  // namespace r1::pipeline
