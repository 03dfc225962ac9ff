#pragma once
#include "kernels/device/cuda.h"

namespace r1::kernels::device {

/// draw_uniform of util/random.h in units of 2^-53: Philox4x32-10 at counter (x, y, z, w), its first 53 bits.
/// Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), section 3.3.
inline __device__ uint64_t philox_53_bits(uint32_t x, uint32_t y, uint32_t z, uint32_t w, uint32_t key0,
                                          uint32_t key1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, x), low0 = 0xD2511F53u * x;
    const uint32_t high1 = __umulhi(0xCD9E8D57u, z), low1 = 0xCD9E8D57u * z;
    x = high1 ^ y ^ key0;
    y = low1;
    z = high0 ^ w ^ key1;
    w = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return (uint64_t{x} << 32 | y) >> 11;
}

}  // namespace r1::kernels::device
