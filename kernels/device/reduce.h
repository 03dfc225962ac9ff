#pragma once
#include "kernels/device/cuda.h"

// Sums and maxima over a warp and over a block, in an order that depends on the block's size alone.
namespace r1::kernels::device {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

/// Every lane gets the result over all 32 lanes.
template <class Op, class T>
__forceinline__ __device__ T warp_reduce(T x, Op op) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(kFullWarp, x, offset));
  return x;
}
__forceinline__ __device__ float warp_sum(float x) { return warp_reduce(x, Sum{}); }
__forceinline__ __device__ float warp_max(float x) { return warp_reduce(x, Max{}); }

/// Every thread gets the result over a block of kThreads. Ends with a barrier, so calls may follow each
/// other.
template <int kThreads, class Op, class T>
__device__ T block_reduce(T x, Op op) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  constexpr int kWarps = kThreads / 32;
  R1_SHARED(partial, T[kWarps]);
  x = warp_reduce(x, op);
  if (lane_id() == 0) partial[warp_id()] = x;
  __syncthreads();
  x = partial[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) x = op(x, partial[w]);
  __syncthreads();
  return x;
}
template <int kThreads>
__device__ float block_sum(float x) {
  return block_reduce<kThreads>(x, Sum{});
}

/// Inclusive scan over the lanes of a warp.
template <class T>
__forceinline__ __device__ T warp_scan(T x) {
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const T below = __shfl_up_sync(kFullWarp, x, offset);
    if (lane_id() >= offset) x += below;
  }
  return x;
}

}  // namespace r1::kernels::device
