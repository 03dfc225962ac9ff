#pragma once
#include <cstdint>
#include <vector>

#include "r1/model/model_config.h"

namespace r1::model {

/// What GGUF stores as rope_freqs.weight: divisor[i] = unscaled / scaled inverse frequency i, i < head_dim
/// / 2. Source: Llama 3.1's reference code, as RopeScalingKind::kLlama3 describes it.
std::vector<float> llama3_divisors(int64_t head_dim, double rope_theta, const RopeScaling& scaling);

}  // namespace r1::model
