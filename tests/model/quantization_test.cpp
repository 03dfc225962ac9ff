#include "r1/model/quantization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "r1/util/error.h"
#include "r1/util/safetensors.h"

namespace r1::model {
namespace {

// Made by scripts/golden/weights_golden.py with PyPI `gguf`.
const SafetensorsFile& golden() {
  static const SafetensorsFile kFile(std::string(R1_SOURCE_DIR) +
                                     "/tests/golden/weights/quantization.safetensors");
  return kFile;
}

class Dequantize : public ::testing::TestWithParam<GgufType> {};

TEST_P(Dequantize, EqualsTheGgufPackageBitForBit) {
  const std::string name = gguf_type_name(GetParam());
  const auto &blocks = golden().at(name + ".blocks"), &expected = golden().at(name + ".values");
  std::vector<float> values(expected.bytes.size() / 4);
  ASSERT_GE(values.size(), 16u);
  dequantize(GetParam(), blocks.bytes, values);
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t found, wanted;
    std::memcpy(&found, &values[i], 4);
    std::memcpy(&wanted, expected.bytes.data() + 4 * i, 4);
    if (std::isnan(values[i]) && (wanted & 0x7fffffff) > 0x7f800000) continue;  // payloads are not promised
    ASSERT_EQ(found, wanted) << name << " element " << i << " is " << values[i];
  }
}

TEST_P(Dequantize, ReadsUnalignedBlocks) {
  const std::string name = gguf_type_name(GetParam());
  const auto& blocks = golden().at(name + ".blocks");
  std::vector<float> aligned(golden().at(name + ".values").bytes.size() / 4), moved(aligned.size());
  dequantize(GetParam(), blocks.bytes, aligned);
  std::vector<std::byte> shifted(blocks.bytes.size() + 1);
  std::memcpy(shifted.data() + 1, blocks.bytes.data(), blocks.bytes.size());
  dequantize(GetParam(), std::span(shifted).subspan(1), moved);
  EXPECT_EQ(std::memcmp(aligned.data(), moved.data(), 4 * moved.size()), 0);
}

TEST_P(Dequantize, RefusesAnotherNumberOfBytes) {
  const std::string name = gguf_type_name(GetParam());
  const auto& blocks = golden().at(name + ".blocks");
  std::vector<float> values(golden().at(name + ".values").bytes.size() / 4);
  EXPECT_THROW(dequantize(GetParam(), blocks.bytes.subspan(1), values), Error);
  EXPECT_THROW(dequantize(GetParam(), blocks.bytes, std::span(values).subspan(1)), Error);
  dequantize(GetParam(), {}, {});
}

INSTANTIATE_TEST_SUITE_P(Types, Dequantize,
                         ::testing::Values(GgufType::kF32, GgufType::kF16, GgufType::kBF16, GgufType::kQ8_0,
                                           GgufType::kQ4_0, GgufType::kQ4_1, GgufType::kQ5_0, GgufType::kQ5_1,
                                           GgufType::kQ4_K, GgufType::kQ5_K, GgufType::kQ6_K),
                         [](const auto& info) { return std::string(gguf_type_name(info.param)); });

TEST(Quantization, OtherTypesAreNamed) {
  EXPECT_FALSE(can_dequantize(GgufType::kQ2_K));
  EXPECT_FALSE(can_dequantize(GgufType::kI32));
  try {
    dequantize(GgufType::kQ3_K, {}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("Q3_K"), std::string::npos);
  }
}

TEST(Quantization, Q8_0EqualsTheGgufPackageBitForBit) {
  const auto &input = golden().at("q8_0.input"), &expected = golden().at("q8_0.quantized");
  std::vector<float> values(input.bytes.size() / 4);
  std::memcpy(values.data(), input.bytes.data(), input.bytes.size());
  std::vector<std::byte> blocks(expected.bytes.size());
  quantize_q8_0(values, blocks);
  for (size_t i = 0; i < blocks.size(); ++i)
    ASSERT_EQ(blocks[i], expected.bytes[i]) << "block " << i / 34 << " byte " << i % 34;
}

TEST(Quantization, Q8_0RoundTripStaysWithinHalfAStep) {
  std::vector<float> values(64), back(64);
  for (size_t i = 0; i < 64; ++i) values[i] = std::sin(static_cast<float>(i)) * (i < 32 ? 1.0f : 1000.0f);
  std::vector<std::byte> blocks(68);
  quantize_q8_0(values, blocks);
  dequantize(GgufType::kQ8_0, blocks, back);
  for (size_t i = 0; i < 64; ++i) {
    const float largest = i < 32 ? 1.0f : 1000.0f;
    // half a step of 1/127, and the float16 rounding of the scale: 2^-11 of the value
    EXPECT_NEAR(back[i], values[i], largest * (0.5f / 127 + 1.0f / 2048)) << i;
  }
}

TEST(Quantization, Q8_0RefusesWhatItCannotHold) {
  std::vector<float> values(32, 1.0f);
  std::vector<std::byte> blocks(34);
  EXPECT_THROW(quantize_q8_0(values, std::span(blocks).subspan(1)), Error);
  EXPECT_THROW(quantize_q8_0(std::span(values).subspan(1), blocks), Error);
  values[7] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(quantize_q8_0(values, blocks), Error);
  values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(quantize_q8_0(values, blocks), Error);
  values[7] = 1e8f;  // d = 787401, above 65504
  EXPECT_THROW(quantize_q8_0(values, blocks), Error);
  values.assign(32, 1e-43f);  // 1 / d overflows
  quantize_q8_0(values, blocks);
  dequantize(GgufType::kQ8_0, blocks, values);
  EXPECT_EQ(values[0], 0.0f);
}

}  // namespace
}  // namespace r1::model
