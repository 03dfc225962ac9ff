#pragma once
#include <cstdint>

// Sizes that the plan and the kernels of packed attention share.
namespace r1::kernels::cuda {

constexpr int64_t kTileRows = 128;  ///< queries or keys that a block owns
constexpr int64_t kStepRows = 32;   ///< queries of a step in the pass for dk and dv

}  // namespace r1::kernels::cuda
