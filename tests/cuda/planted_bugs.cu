#include "cuda/planted_bugs.h"
#include "kernels/device/launch.h"
#include "kernels/device/mma.h"
#include "kernels/device/vector.h"

namespace r1::test {
namespace {

using namespace kernels::device;

__global__ void reverse_kernel(const float* x, float* y, bool with_barrier) {
  R1_SHARED(row, float[64]);
  const int i = static_cast<int>(threadIdx.x);
  row[i] = x[i];
  if (with_barrier) __syncthreads();
  y[i] = row[63 - i];  // bug: reverse
}

__global__ void add_next_kernel(const float* x, float* y, int n, bool bounded) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  y[i] = x[i] + (bounded && i + 1 == n ? 0.0f : x[i + 1]);  // bug: add_next
}

__global__ void copy_vectors_kernel(const float* x, float* y, int offset) {
  const int i = static_cast<int>(threadIdx.x) * 4;
  store_pack(y + i, load_pack(x + offset + i));  // bug: copy_vectors
}

__global__ void warp_total_kernel(const float* x, float* y, bool divergent) {
  float sum = x[threadIdx.x];
  if (!divergent || threadIdx.x < 16) {
    for (int offset = 16; offset > 0; offset /= 2)
      sum += __shfl_xor_sync(kFullWarp, sum, offset);  // bug: warp_total
  }
  __syncthreads();  // bug: warp_total barrier
  y[threadIdx.x] = sum;
}

__global__ void small_product_kernel(const Bf16* a, const Bf16* b, float* c, bool swapped) {
  const int g = lane_id() / 4, t = 2 * (lane_id() % 4);
  const auto pair = [](Bf16 low, Bf16 high) { return low.bits | static_cast<uint32_t>(high.bits) << 16; };
  uint32_t left[4], right[2];
  for (int r = 0; r < 4; ++r) {
    const Bf16* at = a + (g + 8 * (r % 2)) * 16 + t + 8 * (r / 2);
    left[r] = pair(at[0], at[1]);
  }
  for (int r = 0; r < 2; ++r) {
    const Bf16* at = b + (t + 8 * (swapped ? 1 - r : r)) * 8 + g;
    right[r] = pair(at[0], at[8]);
  }
  float sums[4] = {0, 0, 0, 0};
  mma_bf16(sums, left, right);
  for (int r = 0; r < 4; ++r) c[(g + 8 * (r / 2)) * 8 + t + r % 2] = sums[r];
}

__global__ void fill_shared_kernel(float* y, int extra) {
  R1_SHARED(row, float[32]);
  const int i = static_cast<int>(threadIdx.x);
  row[i + extra] = 1.0f;  // bug: fill_shared
  __syncthreads();
  y[i] = row[i + extra];
}

__global__ void sum_shared_kernel(float* y, bool hole) {
  R1_SHARED(row, float[32]);
  if (!hole || threadIdx.x != 5) row[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    float sum = 0;
    for (int i = 0; i < 32; ++i) sum += row[i];  // bug: sum_shared
    y[0] = sum;
  }
}

__global__ void count_blocks_kernel(int* counter, bool atomic) {
  if (threadIdx.x != 0) return;
  if (atomic) {
    atomicAdd(counter, 1);
  } else {
    *counter = *counter + 1;  // bug: count_blocks
  }
}

__global__ void async_copy_kernel(const float* x, float* y, bool wait) {
  R1_DYNAMIC_SHARED(bytes);
  auto* row = reinterpret_cast<float*>(bytes);
  const int i = static_cast<int>(threadIdx.x);
  cp_async_16(row + 4 * i, x + 4 * i);
  cp_async_commit();
  if (wait) cp_async_wait<0>();
  __syncthreads();
  y[i] = row[i];  // bug: async_copy
  if (!wait) cp_async_wait<0>();
}

__global__ void exchange_in_warp_kernel(const float* x, float* y, bool sync) {
  R1_SHARED(row, float[32]);
  row[threadIdx.x] = x[threadIdx.x];
  if (sync) __syncwarp();
  y[threadIdx.x] = row[threadIdx.x ^ 1];  // bug: exchange
}

__global__ void early_return_kernel(float* y, bool early) {
  y[threadIdx.x] = 1.0f;
  if (early && threadIdx.x >= 32) return;
  __syncthreads();  // bug: early_return
}

__global__ void write_some_kernel(float* y, int n, bool half) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < n && !(half && i % 2 == 1)) y[i] = 1.0f;
}

}  // namespace

void reverse(const float* x, float* y, bool with_barrier) {
  launch({.name = "reverse", .threads = 64}, reverse_kernel, x, y, with_barrier);
}
void add_next(const float* x, float* y, int n, bool bounded) {
  launch({.name = "add_next", .blocks = ceil_div(n, 32), .threads = 32}, add_next_kernel, x, y, n, bounded);
}
void copy_vectors(const float* x, float* y, int offset) {
  launch({.name = "copy_vectors", .threads = 32}, copy_vectors_kernel, x, y, offset);
}
void warp_total(const float* x, float* y, bool divergent) {
  launch({.name = "warp_total", .threads = 32}, warp_total_kernel, x, y, divergent);
}
void small_product(const Bf16* a, const Bf16* b, float* c, bool swapped) {
  launch({.name = "small_product", .threads = 32}, small_product_kernel, a, b, c, swapped);
}
void fill_shared(float* y, int extra) {
  launch({.name = "fill_shared", .threads = 32}, fill_shared_kernel, y, extra);
}
void sum_shared(float* y, bool hole) {
  launch({.name = "sum_shared", .threads = 32}, sum_shared_kernel, y, hole);
}
void count_blocks(int* counter, int blocks, bool atomic) {
  launch({.name = "count_blocks", .blocks = blocks, .threads = 32}, count_blocks_kernel, counter, atomic);
}
void async_copy(const float* x, float* y, bool wait) {
  launch({.name = "async_copy", .threads = 32, .shared_bytes = 512}, async_copy_kernel, x, y, wait);
}
void exchange_in_warp(const float* x, float* y, bool sync) {
  launch({.name = "exchange_in_warp", .threads = 32}, exchange_in_warp_kernel, x, y, sync);
}
void early_return(float* y, bool early) {
  launch({.name = "early_return", .threads = 64}, early_return_kernel, y, early);
}
void write_some(float* y, int n, bool half) {
  launch({.name = "write_some", .threads = 32}, write_some_kernel, y, n, half);
}

}  // namespace r1::test
