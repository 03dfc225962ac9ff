#include "cuda/device_numbers.h"
#include "r1/ops/kernel_cases.h"

namespace r1::ops {
namespace {

// Every row of the table that `r1 bench kernels` times on a GPU: both ways give the same.
TEST(DeviceKernelCases, OursIsTorchs) {
  torch::manual_seed(1);
  const test::EmulatedDevice device;
  const auto cases = device_kernel_cases(torch::kCPU, CaseSize::kTest);
  EXPECT_GE(cases.size(), 42u);
  for (const auto& maker : cases) {
    const auto c = maker.make();
    EXPECT_GT(c.bytes, 0) << maker.op;
    const auto ours = c.ours(), plain = c.plain();
    ASSERT_EQ(ours.defined(), plain.defined()) << maker.op;
    if (!ours.defined()) continue;
    EXPECT_EQ(ours.sizes(), plain.sizes()) << maker.op;
    EXPECT_LE(test::relative_error(ours, plain), 0.02) << maker.op << " " << maker.shape;
  }
}

TEST(CpuKernelCases, OursIsTorchs) {
  torch::manual_seed(2);
  for (const auto& maker : cpu_kernel_cases(CaseSize::kTest)) {
    const auto c = maker.make();
    EXPECT_LE(test::relative_error(c.ours(), c.plain()), 1e-5) << maker.op << " " << maker.shape;
  }
}

}  // namespace
}  // namespace r1::ops
