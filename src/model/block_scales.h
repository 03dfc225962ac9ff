#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace r1::model {

/// Weights that Hugging Face folders hold as small floats with a scale per block, as float32. Exact: a scale
/// of MXFP4 is a power of two; one of FP8 is multiplied once, in float32, as DeepSeek-V3's own conversion
/// does.

/// FP8 of DeepSeek-V3 (arXiv:2412.19437v2, figure 7b): w[o, i] = fp8[o, i] * scale[o / block, i / block].
///
/// weight_OI: float8_e4m3fn [O, I]. scale: float32 [ceil(O / block), ceil(I / block)], the `weight_scale_inv`
/// beside it (the inverse of what quantising multiplied by). Throws Error naming `name` and both shapes when
/// they do not fit.
at::Tensor dequantize_fp8(const at::Tensor& weight_OI, const at::Tensor& scale, int64_t block,
                          const std::string& name);

/// MXFP4 of gpt-oss (OCP Microscaling Formats v1.0): blocks of 32 values along a row, each value 1 sign, 2
/// exponent and 1 mantissa bit (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives), two to a byte, the lower
/// half first; value = fp4 * 2^(scale - 127).
///
/// blocks: uint8 [..., R, I / 32, 16]. scales: uint8 [..., R, I / 32]. Returns float32 [..., I, R]: the
/// orientation of the experts' parameters in HF, which multiply from the right. Throws Error naming `name`
/// when the shapes do not fit or a scale is 255, which means NaN.
at::Tensor dequantize_mxfp4(const at::Tensor& blocks, const at::Tensor& scales, const std::string& name);

}  // namespace r1::model
