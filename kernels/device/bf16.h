#pragma once
#include "kernels/device/cuda.h"
#include "kernels/device/types.h"

namespace r1::kernels::device {

inline __device__ float to_float(float x) { return x; }
inline __device__ float to_float(Bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

/// Round to nearest, ties to even.
inline __device__ uint16_t bf16_bits(float x) {
#if defined(__CUDACC__)
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#else
  const unsigned u = __float_as_uint(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;  // NaN
  return static_cast<uint16_t>((u + 0x7FFFu + (u >> 16 & 1u)) >> 16);
#endif
}

template <class T>
__device__ T from_float(float x);
template <>
inline __device__ float from_float<float>(float x) {
  return x;
}
template <>
inline __device__ Bf16 from_float<Bf16>(float x) {
  return {bf16_bits(x)};
}

/// Two bf16 in a register, `low` in the low half: how the matrix instructions want neighbours.
inline __device__ uint32_t pack_bf16(float low, float high) {
#if defined(__CUDACC__)
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return bf16_bits(low) | static_cast<uint32_t>(bf16_bits(high)) << 16;
#endif
}

}  // namespace r1::kernels::device
