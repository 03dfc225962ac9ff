#include "r1/util/strings.h"

#include <gtest/gtest.h>

#include <cmath>

namespace r1 {
namespace {

TEST(Strings, CatAndJoin) {
  EXPECT_EQ(cat("step ", 3, " of ", 10), "step 3 of 10");
  EXPECT_EQ(cat(), "");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a"}, ", "), "a");
  EXPECT_EQ(join({"a", "", "c"}, ", "), "a, , c");
}

TEST(Strings, NearestForgivesTypos) {
  const std::vector<std::string> keys{"group_size", "kl_coef", "lr", "warmup_steps"};
  EXPECT_EQ(nearest("groupsize", keys), "group_size");
  EXPECT_EQ(nearest("group_szie", keys), "group_size");
  EXPECT_EQ(nearest("kl_coeff", keys), "kl_coef");
  EXPECT_EQ(nearest("rl", keys), "lr");  // one swap of neighbours
  EXPECT_EQ(nearest("lr", keys), "lr");
  EXPECT_EQ(nearest("temperature", keys), "");
  EXPECT_EQ(nearest("", keys), "");
  EXPECT_EQ(nearest("x", {}), "");
}

TEST(Strings, HumanBytes) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(1048575), "1.0 MiB");
  EXPECT_EQ(human_bytes(92.9 * 1048576), "92.9 MiB");
  EXPECT_EQ(human_bytes(3e20), "266453.5 PiB");
  EXPECT_EQ(human_bytes(-2048), "-2.0 KiB");
}

TEST(Strings, HumanCount) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(740), "740");
  EXPECT_EQ(human_count(999.6), "1.0k");
  EXPECT_EQ(human_count(1234), "1.2k");
  EXPECT_EQ(human_count(999960), "1.0M");
  EXPECT_EQ(human_count(135e6), "135.0M");
  EXPECT_EQ(human_count(2.1e9), "2.1B");
  EXPECT_EQ(human_count(INFINITY), "inf");
}

TEST(Strings, HumanSeconds) {
  EXPECT_EQ(human_seconds(0), "0.0s");
  EXPECT_EQ(human_seconds(0.44), "0.4s");
  EXPECT_EQ(human_seconds(9.97), "10s");
  EXPECT_EQ(human_seconds(12.3), "12s");
  EXPECT_EQ(human_seconds(59.7), "1m00s");
  EXPECT_EQ(human_seconds(185), "3m05s");
  EXPECT_EQ(human_seconds(3599.6), "1h00m");
  EXPECT_EQ(human_seconds(7640), "2h07m");
  EXPECT_EQ(human_seconds(-3), "-3.0s");
}

}  // namespace
}  // namespace r1
