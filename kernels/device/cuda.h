#pragma once
// The one door to CUDA for device code. nvcc sees CUDA; any other compiler sees the emulator of
// tests/support/emulator, which runs the same sources on a CPU in the tests (docs/kernels/emulator.md).
#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime.h>

namespace r1::kernels::device {
template <class T>
struct Identity {
  using type = T;
};
}  // namespace r1::kernels::device

/// `R1_SHARED(sums, float[kWarps])`: a variable of shared memory, uninitialised, 16-byte aligned.
#define R1_SHARED(name, ...) \
  __shared__ __align__(16) typename ::r1::kernels::device::Identity<__VA_ARGS__>::type name
/// The launch's dynamic shared memory as bytes, 128-byte aligned.
#define R1_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
/// Where a wrapper of a device instruction is called: known to the emulator only.
#define R1_SITE_PARAMETER
#define R1_SITE_ARGUMENT

#else

#include "support/emulator/cuda_builtins.h"

#define R1_SITE_PARAMETER , ::r1::emulator::Site site = ::r1::emulator::Site::here()
#define R1_SITE_ARGUMENT , site

#endif

namespace r1::kernels::device {

constexpr unsigned kFullWarp = 0xFFFFFFFFu;

inline __device__ int lane_id() { return static_cast<int>(threadIdx.x) & 31; }
inline __device__ int warp_id() { return static_cast<int>(threadIdx.x) >> 5; }

/// e^x: nvcc's __expf errs by at most 2 + floor(1.173 |x|) units in the last place (CUDA C++ Programming Guide,
/// intrinsic functions).
inline __device__ float exp_fast(float x) {
#if defined(__CUDACC__)
  return __expf(x);
#else
  return ::expf(x);
#endif
}

inline __device__ float rsqrt(float x) {
#if defined(__CUDACC__)
  return rsqrtf(x);
#else
  return 1.0f / ::sqrtf(x);
#endif
}

}  // namespace r1::kernels::device
