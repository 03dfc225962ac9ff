#pragma once
#include "kernels/device/bf16.h"

// 16-byte loads and stores: what one thread moves per instruction.
namespace r1::kernels::device {

template <class T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T v[kCount];
};

/// p must be 16-byte aligned.
template <class T>
__forceinline__ __device__ Pack<T> load_pack(const T* p R1_SITE_PARAMETER) {
  Pack<T> pack;
#if defined(__CUDACC__)
  *reinterpret_cast<uint4*>(&pack) = *reinterpret_cast<const uint4*>(p);
#else
  emulator::read_vector(p, &pack, 16, site);
#endif
  return pack;
}

template <class T>
__forceinline__ __device__ void store_pack(T* p, const Pack<T>& pack R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  *reinterpret_cast<uint4*>(p) = *reinterpret_cast<const uint4*>(&pack);
#else
  emulator::write_vector(p, &pack, 16, site);
#endif
}

/// `count` (0 to Pack::kCount) elements from p, zero behind them; one 16-byte load when `aligned` and all are
/// there.
template <class T>
__forceinline__ __device__ Pack<T> load_some(const T* p, int64_t count, bool aligned) {
  if (aligned && count >= Pack<T>::kCount) return load_pack(p);
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::kCount; ++i) pack.v[i] = i < count ? p[i] : from_float<T>(0.0f);
  return pack;
}

template <class T>
__forceinline__ __device__ void store_some(T* p, const Pack<T>& pack, int64_t count, bool aligned) {
  if (aligned && count >= Pack<T>::kCount) return store_pack(p, pack);
#pragma unroll
  for (int i = 0; i < Pack<T>::kCount; ++i) {
    if (i < count) p[i] = pack.v[i];
  }
}

/// Whether rows of `stride` elements that start at p can be read 16 bytes at a time.
template <class T>
inline __host__ __device__ bool rows_aligned(const T* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride % Pack<T>::kCount == 0;
}

}  // namespace r1::kernels::device
