#pragma once
// The part of CUDA C++ that the kernels use, for a C++ compiler: kernels/device/cuda.h includes this instead
// of the CUDA headers, so that the same .cu files run on a CPU, thread by thread.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "support/emulator/grid.h"
#include "support/emulator/warp.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define threadIdx (::r1::emulator::thread_index())
#define blockIdx (::r1::emulator::block_index())
#define blockDim (::r1::emulator::block_dim())
#define gridDim (::r1::emulator::grid_dim())

/// `R1_SHARED(sums, float[kWarps])`: a variable of shared memory, uninitialised, 16-byte aligned.
#define R1_SHARED(name, ...)                                                       \
  auto& name = ::r1::emulator::shared_variable<std::type_identity_t<__VA_ARGS__>>( \
      [] {                                                                         \
        static char tag;                                                           \
        return static_cast<const void*>(&tag);                                     \
      }(),                                                                         \
      #name)
/// The launch's dynamic shared memory as bytes, 128-byte aligned.
#define R1_DYNAMIC_SHARED(name) \
  unsigned char* const name = static_cast<unsigned char*>(::r1::emulator::dynamic_shared_memory())

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace r1::emulator {

template <class T>
T& shared_variable(const void* tag, const char* name) {
  return *static_cast<T*>(shared_variable_memory(tag, sizeof(T), name));
}

template <class T>
uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T, class Fn>
__attribute__((always_inline)) inline T atomic_update(T* p, Fn fn, Site site) {
  T old, updated;
  begin_atomic(p, sizeof(T), site);
  copy_unchecked(&old, p, sizeof(T));
  updated = fn(old);
  copy_unchecked(p, &updated, sizeof(T));
  return old;
}

}  // namespace r1::emulator

// Default arguments take the caller's line.
#define R1_SITE ::r1::emulator::Site site = ::r1::emulator::Site::here()

inline void __syncthreads(R1_SITE) { ::r1::emulator::barrier(::r1::emulator::BarrierKind::kPlain, 0, site); }
inline int __syncthreads_or(int predicate, R1_SITE) {
  return ::r1::emulator::barrier(::r1::emulator::BarrierKind::kOr, predicate, site);
}
inline int __syncthreads_and(int predicate, R1_SITE) {
  return ::r1::emulator::barrier(::r1::emulator::BarrierKind::kAnd, predicate, site);
}
inline int __syncthreads_count(int predicate, R1_SITE) {
  return ::r1::emulator::barrier(::r1::emulator::BarrierKind::kCount, predicate, site);
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, R1_SITE) { ::r1::emulator::sync_warp(mask, site); }
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, R1_SITE) {
  const int lane = static_cast<int>(::r1::emulator::lane_index()), first = lane & ~(width - 1);
  return ::r1::emulator::from_bits<T>(::r1::emulator::shuffle(
      "__shfl_sync", mask, ::r1::emulator::to_bits(value), first + (source & (width - 1)), site));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, R1_SITE) {
  const int lane = static_cast<int>(::r1::emulator::lane_index()), other = lane ^ lane_mask;
  const int source = other < (lane & ~(width - 1)) + width ? other : lane;
  return ::r1::emulator::from_bits<T>(
      ::r1::emulator::shuffle("__shfl_xor_sync", mask, ::r1::emulator::to_bits(value), source, site));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32, R1_SITE) {
  const int lane = static_cast<int>(::r1::emulator::lane_index());
  const int source = lane - delta >= (lane & ~(width - 1)) ? lane - delta : lane;
  return ::r1::emulator::from_bits<T>(
      ::r1::emulator::shuffle("__shfl_up_sync", mask, ::r1::emulator::to_bits(value), source, site));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32, R1_SITE) {
  const int lane = static_cast<int>(::r1::emulator::lane_index());
  const int source = lane + delta < (lane & ~(width - 1)) + width ? lane + delta : lane;
  return ::r1::emulator::from_bits<T>(
      ::r1::emulator::shuffle("__shfl_down_sync", mask, ::r1::emulator::to_bits(value), source, site));
}
inline unsigned __ballot_sync(unsigned mask, int predicate, R1_SITE) {
  return ::r1::emulator::ballot("__ballot_sync", mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, R1_SITE) {
  return ::r1::emulator::ballot("__any_sync", mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, R1_SITE) {
  return ::r1::emulator::ballot("__all_sync", mask, predicate == 0, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, R1_SITE) {
  return ::r1::emulator::match_any(mask, ::r1::emulator::to_bits(value), site);
}

template <class T>
__forceinline__ T atomicAdd(T* p, std::type_identity_t<T> value, R1_SITE) {
  return ::r1::emulator::atomic_update(p, [value](T old) { return static_cast<T>(old + value); }, site);
}
template <class T>
__forceinline__ T atomicMax(T* p, std::type_identity_t<T> value, R1_SITE) {
  return ::r1::emulator::atomic_update(p, [value](T old) { return old < value ? value : old; }, site);
}
template <class T>
__forceinline__ T atomicMin(T* p, std::type_identity_t<T> value, R1_SITE) {
  return ::r1::emulator::atomic_update(p, [value](T old) { return value < old ? value : old; }, site);
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
inline float __uint_as_float(unsigned x) { return ::r1::emulator::from_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(::r1::emulator::to_bits(x)); }

using std::max;
using std::min;
