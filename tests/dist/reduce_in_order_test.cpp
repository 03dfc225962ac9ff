#include "reduce_in_order.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace r1::dist {
namespace {

at::Tensor reduce(Reduce op, const std::vector<at::Tensor>& parts) {
  std::vector<const void*> data;
  for (const auto& part : parts) data.push_back(part.data_ptr());
  const auto out = torch::empty_like(parts[0]);
  reduce_in_order(out.scalar_type(), op, data, out.data_ptr(), out.numel());
  return out;
}

TEST(ReduceInOrder, TheOrderIsThatOfTheParts) {
  const auto one = torch::full({3}, 1.0f), large = torch::full({3}, 1e8f);
  EXPECT_EQ(reduce(Reduce::kSum, {large, -large, one})[0].item<float>(), 1.0f);
  EXPECT_EQ(reduce(Reduce::kSum, {large, one, -large})[0].item<float>(), 0.0f);
}

TEST(ReduceInOrder, BFloat16IsRoundedOnce) {
  const auto big = torch::full({5}, 256.0f).to(torch::kBFloat16), one = torch::ones({5}, torch::kBFloat16);
  // 256 + 1 rounds to 256 in bfloat16; 256 + 1 + 1 is 258, which it holds.
  EXPECT_EQ(reduce(Reduce::kSum, {big, one, one})[0].item<float>(), 258.0f);
}

TEST(ReduceInOrder, AllTypesAndSizesAgreeWithTorch) {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16, torch::kLong, torch::kByte}) {
    for (const int64_t count : {0, 1, 2047, 2048, 2049, 10'000}) {
      std::vector<at::Tensor> parts;
      for (int p = 0; p < 3; ++p) parts.push_back(torch::randint(0, 50, {count}, torch::kLong).to(type));
      EXPECT_TRUE(reduce(Reduce::kSum, parts).equal(parts[0] + parts[1] + parts[2])) << type << " " << count;
      EXPECT_TRUE(reduce(Reduce::kMax, parts).equal(torch::maximum(torch::maximum(parts[0], parts[1]), parts[2]))) << type << " " << count;
    }
  }
}

TEST(ReduceInOrder, ANaNWinsTheMaximum) {
  const auto nan = torch::full({1}, NAN), one = torch::ones({1});
  EXPECT_TRUE(std::isnan(reduce(Reduce::kMax, {one, nan, one})[0].item<float>()));
  EXPECT_TRUE(std::isnan(reduce(Reduce::kMax, {nan, one})[0].item<float>()));
}

TEST(ReduceInOrder, TheResultMayLieInAPart) {
  const auto a = torch::arange(5000, torch::kFloat), b = torch::ones({5000});
  reduce_in_order(torch::kFloat, Reduce::kSum, {b.data_ptr(), a.data_ptr()}, a.data_ptr(), 5000);
  EXPECT_TRUE(a.equal(torch::arange(5000, torch::kFloat) + 1));
}

}  // namespace
}  // namespace r1::dist
