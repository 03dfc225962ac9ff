#pragma once
#include <cstdint>

/// As in the CUDA headers, so that launchers can be declared and called without them.
typedef struct CUstream_st* cudaStream_t;

namespace r1::kernels {

/// bfloat16 by its bits; the layout of at::BFloat16 and __nv_bfloat16 without their headers.
struct Bf16 {
  uint16_t bits;
};

}  // namespace r1::kernels
