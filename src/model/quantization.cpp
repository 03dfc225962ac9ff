#include "r1/model/quantization.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "r1/util/error.h"
#include "r1/util/strings.h"

// Products and sums stand in statements of their own: a fused multiply-add would round once instead of twice.

namespace r1::model {
namespace {

float half_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return static_cast<float>(c10::Half(bits, c10::Half::from_bits()));
}

float bfloat16_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return static_cast<float>(c10::BFloat16(bits, c10::BFloat16::from_bits()));
}

uint32_t u32_at(const uint8_t* bytes) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

// { f16 d; int8 q[32] }: x = q d
void block_q8_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
}

// { f16 d; u4 q[32] }: x = d (q - 8). Byte i holds element i in its low half and i + 16 in its high half, as
// in all blocks of 32 below.
void block_q4_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

// { f16 d, m; u4 q[32] }: x = d q + m
void block_q4_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  for (int i = 0; i < 16; ++i) {
    const float low = d * static_cast<float>(block[4 + i] & 15);
    const float high = d * static_cast<float>(block[4 + i] >> 4);
    out[i] = low + m;
    out[i + 16] = high + m;
  }
}

/// q of 5 bits: bit i of `fifth_bits` belongs to element i.
int five_bits(const uint8_t* nibbles, uint32_t fifth_bits, int i) {
  const int low = i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4;
  return low | static_cast<int>(fifth_bits >> i & 1) << 4;
}

// { f16 d; u32 fifth bits; u4 q[32] }: x = d (q - 16)
void block_q5_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  const uint32_t fifth_bits = u32_at(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(five_bits(block + 6, fifth_bits, i) - 16);
}

// { f16 d, m; u32 fifth bits; u4 q[32] }: x = d q + m
void block_q5_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  const uint32_t fifth_bits = u32_at(block + 4);
  for (int i = 0; i < 32; ++i) {
    const float product = d * static_cast<float>(five_bits(block + 8, fifth_bits, i));
    out[i] = product + m;
  }
}

/// Scale and minimum, 6 bits each, of 8 sub-blocks in 12 bytes: bytes 0-3 and 4-7 hold those of sub-blocks
/// 0-3 in their low six bits; of sub-block 4 + j, byte 8 + j holds the low four bits of both, and the top two
/// bits of bytes j (scale) and 4 + j (minimum) the rest.
struct ScaleAndMin {
  float scale, min;
};
ScaleAndMin scale_and_min(const uint8_t* packed, int sub) {
  int scale, min;
  if (sub < 4) {
    scale = packed[sub] & 63;
    min = packed[4 + sub] & 63;
  } else {
    scale = (packed[4 + sub] & 15) | (packed[sub - 4] >> 6) << 4;
    min = (packed[4 + sub] >> 4) | (packed[sub] >> 6) << 4;
  }
  return {static_cast<float>(scale), static_cast<float>(min)};
}

// { f16 d, dmin; 12 bytes of scales and minima; u4 q[256] }: x = (d scale) q - dmin min, sub-blocks of 32.
// Sub-blocks 2j and 2j + 1 are the low and the high halves of the same 32 bytes.
void block_q4_k(const uint8_t* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t* q = block + 16;
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, min] = scale_and_min(block + 4, sub);
    const float step = d * scale, offset = dmin * min;
    for (int i = 0; i < 32; ++i) {
      const float product = step * static_cast<float>(q[sub / 2 * 32 + i] >> (sub % 2 * 4) & 15);
      out[sub * 32 + i] = product - offset;
    }
  }
}

// As Q4_K with a fifth bit: bit `sub` of byte i of the 32 bytes before the nibbles.
void block_q5_k(const uint8_t* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t *fifth = block + 16, *q = block + 48;
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, min] = scale_and_min(block + 4, sub);
    const float step = d * scale, offset = dmin * min;
    for (int i = 0; i < 32; ++i) {
      const int low = q[sub / 2 * 32 + i] >> (sub % 2 * 4) & 15;
      const float product = step * static_cast<float>(low | (fifth[i] >> sub & 1) << 4);
      out[sub * 32 + i] = product - offset;
    }
  }
}

// { 128 bytes of low nibbles; 64 bytes of top bit pairs; int8 scale[16]; f16 d }: x = (d scale) (q - 32), a
// scale for 16 elements. Each half of 128 elements has 64 and 32 of those bytes: element 32 k + i (k < 4)
// takes the low (k < 2) or high half of byte 32 (k % 2) + i, and bits 2k of pair byte i.
void block_q6_k(const uint8_t* block, float* out) {
  const float d = half_at(block + 208);
  for (int half = 0; half < 2; ++half) {
    const uint8_t *low = block + half * 64, *pairs = block + 128 + half * 32,
                  *scales = block + 192 + half * 8;
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 32; ++i) {
        const int q = (low[k % 2 * 32 + i] >> (k / 2 * 4) & 15) | (pairs[i] >> (2 * k) & 3) << 4;
        const float step = d * static_cast<float>(static_cast<int8_t>(scales[2 * k + i / 16]));
        out[half * 128 + k * 32 + i] = step * static_cast<float>(q - 32);
      }
  }
}

using BlockFunction = void (*)(const uint8_t*, float*);

BlockFunction block_function(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return [](const uint8_t* block, float* out) { std::memcpy(out, block, sizeof(float)); };
    case GgufType::kF16:
      return [](const uint8_t* block, float* out) { *out = half_at(block); };
    case GgufType::kBF16:
      return [](const uint8_t* block, float* out) { *out = bfloat16_at(block); };
    case GgufType::kQ8_0:
      return block_q8_0;
    case GgufType::kQ4_0:
      return block_q4_0;
    case GgufType::kQ4_1:
      return block_q4_1;
    case GgufType::kQ5_0:
      return block_q5_0;
    case GgufType::kQ5_1:
      return block_q5_1;
    case GgufType::kQ4_K:
      return block_q4_k;
    case GgufType::kQ5_K:
      return block_q5_k;
    case GgufType::kQ6_K:
      return block_q6_k;
    default:
      return nullptr;
  }
}

}  // namespace

bool can_dequantize(GgufType type) { return block_function(type) != nullptr; }

void dequantize(GgufType type, std::span<const std::byte> blocks, std::span<float> out) {
  const BlockFunction function = block_function(type);
  if (function == nullptr)
    throw Error(
        cat("weights of type ", gguf_type_name(type),
            " cannot be read; accepted: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K"));
  const auto elements = static_cast<size_t>(gguf_block_elements(type)),
             bytes = static_cast<size_t>(gguf_block_bytes(type));
  if (out.size() % elements != 0 || blocks.size() != out.size() / elements * bytes)
    throw Error(cat(out.size(), " values of type ", gguf_type_name(type), " take blocks of ", elements,
                    " values in ", bytes, " bytes, but ", blocks.size(), " bytes were given"));
  if (type == GgufType::kF32) {
    if (!out.empty()) std::memcpy(out.data(), blocks.data(), blocks.size());
    return;
  }
  const auto* block = reinterpret_cast<const uint8_t*>(blocks.data());
  for (size_t i = 0; i < out.size(); i += elements, block += bytes) function(block, out.data() + i);
}

void quantize_q8_0(std::span<const float> values, std::span<std::byte> blocks) {
  if (values.size() % 32 != 0 || blocks.size() != values.size() / 32 * 34)
    throw Error(cat(values.size(), " values cannot become ", blocks.size(),
                    " bytes of Q8_0: 32 values take 34 bytes"));
  auto* block = reinterpret_cast<uint8_t*>(blocks.data());
  for (size_t begin = 0; begin < values.size(); begin += 32, block += 34) {
    float largest = 0;
    for (size_t i = 0; i < 32; ++i) {
      if (!std::isfinite(values[begin + i])) throw Error("a value that is not finite cannot become Q8_0");
      largest = std::max(largest, std::abs(values[begin + i]));
    }
    const float d = largest / 127.0f;
    const float inverse = d == 0 ? 0.0f : 1.0f / d;
    const c10::Half stored(d);
    if (!std::isfinite(static_cast<float>(stored)))
      throw Error(
          cat("a value of ", largest, " cannot become Q8_0: its scale exceeds the largest float16, 65504"));
    std::memcpy(block, &stored.x, 2);
    for (size_t i = 0; i < 32; ++i) {
      // A subnormal d has an infinite inverse; its d rounds to zero in float16, so any q does: take 0.
      const float scaled = std::isfinite(inverse) ? values[begin + i] * inverse : 0.0f;
      block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(std::lround(scaled)));
    }
  }
}

}  // namespace r1::model
