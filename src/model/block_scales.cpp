#include "block_scales.h"

#include <ATen/ops/empty.h>

#include <array>
#include <cmath>

#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::model {
namespace {

std::string shape_of(const at::Tensor& tensor) {
  std::vector<std::string> sizes;
  for (const int64_t size : tensor.sizes()) sizes.push_back(std::to_string(size));
  return cat("[", join(sizes, ", "), "]");
}

constexpr std::array<float, 16> kFp4 = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                        -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
constexpr int64_t kMxBlock = 32, kMxBytes = 16;

}  // namespace

at::Tensor dequantize_fp8(const at::Tensor& weight_OI, const at::Tensor& scale, int64_t block,
                          const std::string& name) {
  const auto blocks = [&](int64_t size) { return (size + block - 1) / block; };
  if (weight_OI.dim() != 2 || scale.dim() != 2 || scale.size(0) != blocks(weight_OI.size(0)) ||
      scale.size(1) != blocks(weight_OI.size(1))) {
    throw Error(cat("tensor '", name, "' has shape ", shape_of(weight_OI), " and its scales ",
                    shape_of(scale), "; accepted: one scale per block of ", block, " x ", block,
                    ".\n  The file is damaged, or quantization_config.weight_block_size in config.json is "
                    "another model's."));
  }
  auto out_OI = weight_OI.to(at::kFloat);
  for (int64_t o = 0; o < scale.size(0); ++o) {
    for (int64_t i = 0; i < scale.size(1); ++i) {
      out_OI.slice(0, o * block, (o + 1) * block).slice(1, i * block, (i + 1) * block).mul_(scale[o][i]);
    }
  }
  return out_OI;
}

at::Tensor dequantize_mxfp4(const at::Tensor& blocks, const at::Tensor& scales, const std::string& name) {
  if (scales.dim() < 2 || blocks.dim() != scales.dim() + 1 || blocks.size(-1) != kMxBytes ||
      blocks.sizes().slice(0, static_cast<size_t>(scales.dim())) != scales.sizes()) {
    throw Error(cat("tensor '", name, "' has blocks ", shape_of(blocks), " and scales ", shape_of(scales),
                    "; accepted: blocks of ", kMxBytes,
                    " bytes, each with a scale.\n  The file is damaged; write or download it again."));
  }
  std::vector<int64_t> shape(scales.sizes().begin(), scales.sizes().end());
  shape.back() *= kMxBlock;
  auto out = at::empty(shape, at::kFloat);
  const auto packed = blocks.contiguous(), exponents = scales.contiguous();
  const auto* bytes = packed.data_ptr<uint8_t>();
  const auto* exponent = exponents.data_ptr<uint8_t>();
  auto* values = out.data_ptr<float>();
  for (int64_t b = 0; b < exponents.numel(); ++b) {
    if (exponent[b] == 255)
      throw Error(cat("tensor '", name, "': the scale of block ", b,
                      " is 255 (NaN).\n  The file is damaged; write or download it again."));
    const int power = exponent[b] - 127;
    for (int64_t k = 0; k < kMxBytes; ++k) {
      const uint8_t pair = bytes[b * kMxBytes + k];
      *values++ = std::ldexp(kFp4[pair & 15], power);
      *values++ = std::ldexp(kFp4[pair >> 4], power);
    }
  }
  return out.transpose(-1, -2).contiguous();
}

}  // namespace r1::model
