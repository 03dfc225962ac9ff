// FP8 and MXFP4 weights of Hugging Face folders, against values computed from the formats' definitions.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "r1/model/weights.h"
#include "r1/util/safetensors.h"
#include "util/temp_folder.h"

namespace r1::model {
namespace {

using testing_support::error_of;
using testing_support::TempFolder;

/// OCP 8-bit floating point, E4M3: 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinities, 0x7f and 0xff
/// are NaN.
float e4m3(uint8_t byte) {
  const int exponent = (byte >> 3) & 15, mantissa = byte & 7;
  if (exponent == 15 && mantissa == 7) return std::nanf("");
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return static_cast<float>(byte & 128 ? -magnitude : magnitude);
}

/// Folder with config.json and model.safetensors of a two-dimensional FP8 weight and its scales.
class BlockScales : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 5, kColumns = 7;

  void SetUp() override {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<uint8_t>(i * 37 % 127);
    write_config(
        R"("quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [2, 2]},)");
  }

  void write_config(const std::string& quantization) {
    std::ofstream(folder_ / "config.json")
        << R"({"architectures": ["LlamaForCausalLM"], )" << quantization
        << R"("vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
      "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
      "rope_theta": 10000, "tie_word_embeddings": true, "hidden_act": "silu"})";
  }

  void write(const std::vector<TensorView>& tensors) {
    write_safetensors(folder_ / "model.safetensors", tensors);
  }

  template <typename T>
  static TensorView view(const char* name, TensorDtype dtype, std::vector<int64_t> shape,
                         const std::vector<T>& values) {
    return {{name, dtype, std::move(shape)}, std::as_bytes(std::span(values))};
  }

  TensorView weight() const { return view("w.weight", TensorDtype::kF8E4M3, {kRows, kColumns}, bytes_); }

  const TempFolder folder_;
  std::vector<uint8_t> bytes_ = std::vector<uint8_t>(kRows * kColumns);
  std::vector<float> scales_ = {1,      0.5,  3,  0.1f, 2,    7,
                                0.001f, 1e5f, 11, 13,   0.3f, 0.7f};  // 3 x 4 blocks of 2 x 2
};

TEST_F(BlockScales, EveryFp8NumberOfABlockIsMultipliedByItsScale) {
  write({weight(), view("w.weight_scale_inv", TensorDtype::kF32, {3, 4}, scales_)});
  const auto source = open_weights(folder_.path());
  EXPECT_EQ(source->names(), std::vector<std::string>{"w.weight"});
  EXPECT_EQ(source->shape("w.weight"), (std::vector<int64_t>{kRows, kColumns}));
  const auto loaded = source->load("w.weight");
  ASSERT_EQ(loaded.scalar_type(), at::kFloat);
  for (int64_t o = 0; o < kRows; ++o) {
    for (int64_t i = 0; i < kColumns; ++i) {
      const float expected = e4m3(bytes_[static_cast<size_t>(o * kColumns + i)]) *
                             scales_[static_cast<size_t>(o / 2 * 4 + i / 2)];
      EXPECT_EQ(loaded[o][i].item<float>(), expected) << o << " " << i;
    }
  }
}

TEST_F(BlockScales, All256Fp8NumbersAreThoseOfTheFormat) {
  write_config("");  // without a size: DeepSeek-V3's 128 x 128
  std::vector<uint8_t> all(256);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint8_t>(i);
  write({view("w.weight", TensorDtype::kF8E4M3, {1, 256}, all),
         view("w.weight_scale_inv", TensorDtype::kF32, {1, 2}, std::vector<float>{1, 4})});
  const auto loaded = open_weights(folder_.path())->load("w.weight");
  for (int i = 0; i < 256; ++i) {
    const float expected = e4m3(static_cast<uint8_t>(i)) * (i < 128 ? 1.0f : 4.0f);
    const float value = loaded[0][i].item<float>();
    EXPECT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected)))
        << i << ": " << value << " " << expected;
  }
}

TEST_F(BlockScales, Mxfp4PairsBecomeTheExpertsMatrix) {
  write_config(R"("quantization_config": {"quant_method": "mxfp4"},)");
  const std::vector<double> fp4 = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const int64_t E = 2, R = 3, G = 2;  // experts, rows, blocks of 32 in a row
  std::vector<uint8_t> blocks(static_cast<size_t>(E * R * G * 16)), scales(static_cast<size_t>(E * R * G));
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<uint8_t>(i * 73);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = static_cast<uint8_t>(115 + 2 * i);
  write({view("mlp.up_blocks", TensorDtype::kU8, {E, R, G, 16}, blocks),
         view("mlp.up_scales", TensorDtype::kU8, {E, R, G}, scales)});
  const auto source = open_weights(folder_.path());
  EXPECT_EQ(source->names(), std::vector<std::string>{"mlp.up"});
  EXPECT_EQ(source->shape("mlp.up"), (std::vector<int64_t>{E, G * 32, R}));
  const auto loaded = source->load("mlp.up");
  ASSERT_EQ(loaded.sizes().vec(), (std::vector<int64_t>{E, G * 32, R}));
  for (int64_t e = 0; e < E; ++e) {
    for (int64_t r = 0; r < R; ++r) {
      for (int64_t i = 0; i < G * 32; ++i) {
        const int64_t block = (e * R + r) * G + i / 32;
        const uint8_t pair = blocks[static_cast<size_t>(block * 16 + i % 32 / 2)];
        const uint8_t four = i % 2 == 0 ? pair & 15 : pair >> 4;
        const double expected =
            (four & 8 ? -1 : 1) * fp4[four & 7] * std::ldexp(1.0, scales[static_cast<size_t>(block)] - 127);
        EXPECT_EQ(loaded[e][i][r].item<double>(), expected) << e << " " << r << " " << i;
      }
    }
  }
}

TEST_F(BlockScales, DamageIsNamed) {
  const auto says = [&](const std::vector<TensorView>& tensors, const std::string& name,
                        std::vector<std::string> parts) {
    write(tensors);
    const auto message = error_of([&] { open_weights(folder_.path())->load(name); });
    for (const auto& part : parts) EXPECT_HOLDS(message, part);
  };
  says({weight()}, "w.weight", {"w.weight", "F8_E4M3", "no scales"});
  says({weight(), view("w.weight_scale_inv", TensorDtype::kF32, {4, 3}, scales_)}, "w.weight",
       {"w.weight", "[5, 7]", "[4, 3]", "2 x 2"});
  const std::vector<uint8_t> blocks(32), nan_scale = {127, 255};
  says({view("a_blocks", TensorDtype::kU8, {1, 2, 16}, blocks),
        view("a_scales", TensorDtype::kU8, {1, 2}, nan_scale)},
       "a", {"block 1", "255"});
  says({view("a_blocks", TensorDtype::kU8, {1, 1, 32}, blocks),
        view("a_scales", TensorDtype::kU8, {1, 2}, nan_scale)},
       "a", {"[1, 1, 32]", "16 bytes"});
  write_config(R"("quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 4]},)");
  says({weight(), view("w.weight_scale_inv", TensorDtype::kF32, {3, 4}, scales_)}, "w.weight",
       {"weight_block_size", "[2,4]", "[128, 128]"});
  write_config(R"("quantization_config": {"quant_method": "awq"},)");
  says({weight()}, "w.weight", {"quantization_config", "fp8 or mxfp4"});
}

}  // namespace
}  // namespace r1::model
