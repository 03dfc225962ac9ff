#pragma once
#include <cstdint>

#include "kernels/cpu/scratch.h"

namespace r1::kernels {

/// Element (i, j) of a float32 matrix is data[i * row_stride + j * col_stride].
struct MatrixView {
  const float* data;
  int64_t row_stride, col_stride;
};
inline MatrixView row_major(const float* data, int64_t columns) { return {data, columns, 1}; }
inline MatrixView transposed(const float* data, int64_t columns) { return {data, 1, columns}; }

/// c[m,n] = sum_k a[m,k] b[k,n], or += with `accumulate`.
///
/// Each element is one chain of fused multiply-adds over ascending k that starts from 0 (from c when accumulating).
/// So a row's bits depend on that row of a and on b alone: not on M, the number of threads, the instruction set or
/// whether b was packed before. That is what makes sampling, training and any batch agree exactly (docs/numerics.md).
void gemm(int64_t M, int64_t N, int64_t K, MatrixView a_MK, MatrixView b_KN, float* c_MN, int64_t ldc,
          bool accumulate = false);

/// A right operand in the order in which the kernel streams it: panels of 16 columns, [ceil(N/16)][K][16], the last
/// one padded with zeros. Worth its memory when one b meets few rows many times: the weights while decoding.
class PackedMatrix {
 public:
  void pack(int64_t K, int64_t N, MatrixView b_KN);
  int64_t rows() const { return K_; }
  int64_t columns() const { return N_; }
  const float* panel(int64_t p) const { return buffer_.data() + p * K_ * 16; }
  int64_t bytes() const { return (N_ + 15) / 16 * 16 * K_ * static_cast<int64_t>(sizeof(float)); }

 private:
  Scratch buffer_;
  int64_t K_ = 0, N_ = 0;
};

/// gemm with b packed; the same bits.
void gemm_packed(int64_t M, MatrixView a_MK, const PackedMatrix& b_KN, float* c_MN, int64_t ldc, bool accumulate = false);

/// gemm by three plain loops: the definition, for tests.
void gemm_reference(int64_t M, int64_t N, int64_t K, MatrixView a_MK, MatrixView b_KN, float* c_MN, int64_t ldc,
                    bool accumulate = false);

}  // namespace r1::kernels
