#pragma once
#include <torch/torch.h>

#include "r1/model/model_config.h"

namespace r1::model {

struct RopeTable {
  torch::Tensor cos_PD2, sin_PD2;
};

/// cos and sin of position * frequency for positions 0 .. num_positions - 1; frequencies and angles in float64 for
/// a float64 model, otherwise in float32, as HF computes them, then converted to `dtype`.
RopeTable rope_table(const ModelConfig& config, int64_t num_positions, torch::Dtype dtype);

}  // namespace r1::model
