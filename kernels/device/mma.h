#pragma once
#include "kernels/device/bf16.h"

// Matrix instructions of sm_80 and newer. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16".
// With g = lane / 4, t = lane % 4:
//   a[0] = A[g][2t, 2t+1]  a[1] = A[g+8][2t, 2t+1]  a[2] = A[g][2t+8, 2t+9]  a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g]  b[1] = B[2t+8, 2t+9][g]
//   c[0] = C[g][2t]  c[1] = C[g][2t+1]  c[2] = C[g+8][2t]  c[3] = C[g+8][2t+1]
namespace r1::kernels::device {

/// C[16 x 8] += A[16 x 16] B[16 x 8], bf16 in, float32 sums. All 32 lanes.
__forceinline__ __device__ void mma_bf16(float (&c)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2] R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulator::mma_m16n8k16_bf16(c, a, b, site);
#endif
}

/// Four 8 x 8 matrices of 16-bit elements from shared memory: lane 8 i + r gives the 16-byte aligned address
/// of row r of matrix i. r[i] of lane L: elements [L/4][2 (L%4)] and the next one.
__forceinline__ __device__ void ldmatrix(uint32_t (&r)[4], const void* row R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  emulator::ldmatrix_x4(r, row, false, site);
#endif
}

/// The same of the transposed matrices: r[i] of lane L holds [2 (L%4)][L/4] and the one below it.
__forceinline__ __device__ void ldmatrix_transposed(uint32_t (&r)[4], const void* row R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  emulator::ldmatrix_x4(r, row, true, site);
#endif
}

/// A place in shared memory, kept in a register as it is: distances known when compiling go into the
/// instruction that uses it, where pointers would each be computed before a loop and held through it.
struct SharedAddress {
#if defined(__CUDACC__)
  uint32_t bytes;
#else
  const unsigned char* bytes;
#endif
};
__forceinline__ __device__ SharedAddress shared_address(const void* pointer) {
#if defined(__CUDACC__)
  uint32_t bytes = static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
  asm volatile("" : "+r"(bytes));
  return {bytes};
#else
  return {static_cast<const unsigned char*>(pointer)};
#endif
}
/// ldmatrix and ldmatrix_transposed of the row `distance` bytes behind `row`.
__forceinline__ __device__ void ldmatrix(uint32_t (&r)[4], SharedAddress row, int distance R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row.bytes + distance)
               : "memory");
#else
  emulator::ldmatrix_x4(r, row.bytes + distance, false, site);
#endif
}
__forceinline__ __device__ void ldmatrix_transposed(uint32_t (&r)[4], SharedAddress row, int distance R1_SITE_PARAMETER) {
#if defined(__CUDACC__)
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row.bytes + distance)
               : "memory");
#else
  emulator::ldmatrix_x4(r, row.bytes + distance, true, site);
#endif
}

/// 16 bytes from global to shared memory behind the thread's back, both 16-byte aligned; zeros when not
/// `valid`
/// (`global` is then not read). Visible to this thread after cp_async_wait, to others after a barrier too.
__forceinline__ __device__ void cp_async_16(void* shared, const void* global, bool valid = true) {
#if defined(__CUDACC__)
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes)
               : "memory");
#else
  emulator::copy_async(shared, global, 16, valid ? 16 : 0);
#endif
}
/// The same of 4 bytes, both 4-byte aligned.
__forceinline__ __device__ void cp_async_4(void* shared, const void* global, bool valid = true) {
#if defined(__CUDACC__)
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(global), "r"(bytes)
               : "memory");
#else
  emulator::copy_async(shared, global, 4, valid ? 4 : 0);
#endif
}
__forceinline__ __device__ void cp_async_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulator::copy_async_commit();
#endif
}
/// Waits until at most kLeft of this thread's groups are under way.
template <int kLeft>
__forceinline__ __device__ void cp_async_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#else
  emulator::copy_async_wait(kLeft);
#endif
}

}  // namespace r1::kernels::device
