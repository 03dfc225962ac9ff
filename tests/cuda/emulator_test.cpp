// The emulator finds what is planted in planted_bugs.cu, says who and where, and lets the correct forms pass.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "cuda/planted_bugs.h"
#include "support/device_array.h"
#include "support/emulator/grid.h"

namespace r1::test {
namespace {

using emulator::ThreadOrder;

std::vector<float> counting(int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i);
  return x;
}

std::string fault_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const emulator::Fault& fault) {
    return fault.what();
  }
  return "no fault";
}

void expect_fault(const std::function<void()>& run, const std::vector<std::string>& parts) {
  const std::string text = fault_of(run);
  for (const auto& part : parts)
    EXPECT_NE(std::string::npos, text.find(part)) << "missing: " << part << "\nin: " << text;
}

// "planted_bugs.cu:<line>" of the line that ends in this comment.
std::string at(const std::string& bug) {
  std::ifstream source(R1_SOURCE_DIR "/tests/cuda/planted_bugs.cu");
  std::string line;
  for (int number = 1; std::getline(source, line); ++number) {
    if (line.ends_with("// bug: " + bug)) return "planted_bugs.cu:" + std::to_string(number);
  }
  return "no line for " + bug;
}

class Emulator : public testing::TestWithParam<ThreadOrder> {
 protected:
  void SetUp() override { emulator::set_options({GetParam(), 7}); }
  void TearDown() override { emulator::set_options({}); }
};

TEST_P(Emulator, FindsAMissingBarrier) {
  DeviceArray<float> x(counting(64), "x"), y(64, "y");
  reverse(x.data(), y.data(), true);
  EXPECT_EQ(63.0f, y.to_host()[0]);
  // In some orders the reader comes before the writer: then memory was never written.
  const std::string text = fault_of([&] { reverse(x.data(), y.data(), false); });
  EXPECT_TRUE(text.find("race on shared memory `row`") != std::string::npos ||
              text.find("never written") != std::string::npos)
      << text;
  EXPECT_NE(std::string::npos, text.find(at("reverse"))) << text;
}

TEST_P(Emulator, FindsAnAccessPastTheEndOfABuffer) {
  DeviceArray<float> x(counting(50), "x"), y(50, "y");
  add_next(x.data(), y.data(), 50, true);
  EXPECT_EQ(49.0f, y.to_host()[49]);
  expect_fault([&] { add_next(x.data(), y.data(), 50, false); },
               {"block (1,0,0)", "thread (17,0,0)", "read of 4 bytes out of bounds", at("add_next"),
                "0 bytes past the end of buffer `x` of 200 bytes"});
}

TEST_P(Emulator, FindsAnUnalignedVectorLoad) {
  DeviceArray<float> x(counting(132), "x"), y(128, "y");
  copy_vectors(x.data(), y.data(), 4);
  EXPECT_EQ(4.0f, y.to_host()[0]);
  expect_fault([&] { copy_vectors(x.data(), y.data(), 1); },
               {"unaligned load of 16 bytes", at("copy_vectors")});
}

TEST_P(Emulator, FindsADivergentShuffle) {
  DeviceArray<float> x(counting(32), "x"), y(32, "y");
  warp_total(x.data(), y.data(), false);
  EXPECT_EQ(31.0f * 16, y.to_host()[7]);
  expect_fault([&] { warp_total(x.data(), y.data(), true); },
               {"divergen", "waits at __shfl_xor_sync at " + at("warp_total"),
                "waits at __syncthreads at " + at("warp_total barrier")});
}

TEST_P(Emulator, ShowsAWrongFragmentLayout) {
  std::vector<kernels::Bf16> a, b;
  for (int i = 0; i < 256; ++i)
    a.push_back({static_cast<uint16_t>(i % 7 == 0 ? 0x3F80 : i % 3 == 0 ? 0x4000 : 0)});  // 1, 2, 0
  for (int i = 0; i < 128; ++i)
    b.push_back({static_cast<uint16_t>(i % 5 == 0 ? 0x3F80 : i % 2 == 0 ? 0x4040 : 0)});  // 1, 3, 0
  const auto value = [](kernels::Bf16 x) {
    return x.bits == 0 ? 0 : x.bits == 0x3F80 ? 1 : x.bits == 0x4000 ? 2 : 3;
  };
  std::vector<float> expected(128, 0.0f);
  for (size_t m = 0; m < 16; ++m) {
    for (size_t n = 0; n < 8; ++n) {
      for (size_t k = 0; k < 16; ++k)
        expected[m * 8 + n] += static_cast<float>(value(a[m * 16 + k]) * value(b[k * 8 + n]));
    }
  }
  DeviceArray<kernels::Bf16> left(a, "a"), right(b, "b");
  DeviceArray<float> c(128, "c");
  small_product(left.data(), right.data(), c.data(), false);
  EXPECT_EQ(expected, c.to_host());
  small_product(left.data(), right.data(), c.data(), true);
  EXPECT_NE(expected, c.to_host());
}

TEST_P(Emulator, FindsAnOffByOneInSharedMemory) {
  DeviceArray<float> y(32, "y");
  fill_shared(y.data(), 0);
  expect_fault([&] { fill_shared(y.data(), 1); },
               {"thread (31,0,0)", "write out of bounds", "0 bytes past the end of `row` of 128 bytes",
                at("fill_shared")});
}

TEST_P(Emulator, FindsAReadOfUnwrittenSharedMemory) {
  DeviceArray<float> y(1, "y");
  sum_shared(y.data(), false);
  EXPECT_EQ(32.0f, y.to_host()[0]);
  expect_fault([&] { sum_shared(y.data(), true); },
               {"memory that was never written", "shared memory `row` + 20 bytes", at("sum_shared")});
}

TEST_P(Emulator, FindsARaceBetweenBlocks) {
  DeviceArray<int> counter(std::vector<int>{0}, "counter");
  count_blocks(counter.data(), 5, true);
  EXPECT_EQ(5, counter.to_host()[0]);
  expect_fault([&] { count_blocks(counter.data(), 5, false); },
               {"race on buffer `counter`", "of another block", at("count_blocks")});
}

TEST_P(Emulator, FindsAnAsyncCopyWithoutItsWait) {
  DeviceArray<float> x(counting(128), "x"), y(32, "y");
  async_copy(x.data(), y.data(), true);
  EXPECT_EQ(31.0f, y.to_host()[31]);
  expect_fault([&] { async_copy(x.data(), y.data(), false); },
               {"never written", "dynamic shared memory", at("async_copy")});
}

TEST_P(Emulator, OrdersMemoryBySyncwarp) {
  DeviceArray<float> x(counting(32), "x"), y(32, "y");
  exchange_in_warp(x.data(), y.data(), true);
  EXPECT_EQ(1.0f, y.to_host()[0]);
  expect_fault([&] { exchange_in_warp(x.data(), y.data(), false); }, {"shared memory `row`", at("exchange")});
}

TEST_P(Emulator, FindsAThreadThatReturnedBeforeTheBarrier) {
  DeviceArray<float> y(64, "y");
  early_return(y.data(), false);
  expect_fault([&] { early_return(y.data(), true); },
               {"divergence", "has returned", "waits at __syncthreads at " + at("early_return")});
}

TEST_P(Emulator, FindsAResultThatWasNotWritten) {
  DeviceArray<float> y(8, "y");
  write_some(y.data(), 8, false);
  EXPECT_EQ(1.0f, y.to_host()[7]);
  DeviceArray<float> z(8, "z");
  write_some(z.data(), 8, true);
  EXPECT_THROW(z.to_host(), std::runtime_error);
}

TEST_P(Emulator, CountsTheBytesThatAKernelMoves) {
  DeviceArray<float> x(counting(132), "x"), y(128, "y");
  emulator::reset_traffic();
  copy_vectors(x.data(), y.data(), 0);
  EXPECT_EQ(512, emulator::traffic().read_bytes);
  EXPECT_EQ(512, emulator::traffic().written_bytes);
}

INSTANTIATE_TEST_SUITE_P(Orders, Emulator,
                         testing::Values(ThreadOrder::kAscending, ThreadOrder::kDescending,
                                         ThreadOrder::kRandom),
                         [](const auto& info) {
                           return info.param == ThreadOrder::kAscending    ? "Ascending"
                                  : info.param == ThreadOrder::kDescending ? "Descending"
                                                                           : "Random";
                         });

}  // namespace
}  // namespace r1::test
