#pragma once
#include <cstdint>

#include "kernels/device/types.h"

// Kernels with one bug each, and their correct forms: what the emulator must find and must let pass.
namespace r1::test {

using kernels::Bf16;

/// Reverses 64 numbers through shared memory; without the barrier a thread reads what another one writes.
void reverse(const float* x, float* y, bool with_barrier);
/// y[i] = x[i] + x[i + 1]: reads x[n] at the end unless `bounded`.
void add_next(const float* x, float* y, int n, bool bounded);
/// Copies 16 bytes to a thread from x + offset; aligned only when offset is a multiple of four.
void copy_vectors(const float* x, float* y, int offset);
/// A sum over a warp; `divergent`: only the lower half takes part, the mask names all.
void warp_total(const float* x, float* y, bool divergent);
/// C[16 x 8] = A[16 x 16] B[16 x 8]; `swapped` loads B's two registers in the wrong order.
void small_product(const Bf16* a, const Bf16* b, float* c, bool swapped);
/// Each thread writes one past its place in a shared array of 32 when `extra` is 1.
void fill_shared(float* y, int extra);
/// Sums shared memory of which thread 5 never wrote its element when `hole`.
void sum_shared(float* y, bool hole);
/// All blocks add to one counter; without atomics they race.
void count_blocks(int* counter, int blocks, bool atomic);
/// cp.async into shared memory; reads it before the wait unless `wait`.
void async_copy(const float* x, float* y, bool wait);
/// Lanes exchange values through shared memory with __syncwarp, or without anything.
void exchange_in_warp(const float* x, float* y, bool sync);
/// Half of the threads return before the barrier.
void early_return(float* y, bool early);
/// Writes only the even elements when `half`.
void write_some(float* y, int n, bool half);

}  // namespace r1::test
