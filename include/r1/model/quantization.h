#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "r1/util/gguf.h"

namespace r1::model {

/// True for F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K.
bool can_dequantize(GgufType type);

/// out[i] = value of element i, float32, for out.size() elements: whole blocks.
///
/// Blocks of 32 (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1) and superblocks of 256 (Q4_K, Q5_K, Q6_K) as llama.cpp stores
/// them; each product and sum is rounded to float32 in the order that its dequantize_row_* functions have, so
/// results are equal bit for bit. Throws Error for a type that can_dequantize refuses or a wrong number of
/// bytes. Source: the comments at each block's layout in quantization.cpp.
void dequantize(GgufType type, std::span<const std::byte> blocks, std::span<float> out);

/// Q8_0: blocks of 32 values, d = max|x| / 127 stored as float16, q = round(x (1 / d)), halves away from
/// zero, with the d before its rounding to float16; equal bit for bit to llama.cpp's reference. `blocks`
/// takes values.size() / 32 * 34 bytes. Throws Error for other sizes, and when a value is not finite or a d
/// overflows.
void quantize_q8_0(std::span<const float> values, std::span<std::byte> blocks);

}  // namespace r1::model
