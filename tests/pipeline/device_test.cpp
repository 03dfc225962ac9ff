#include "r1/pipeline/device.h"

#include <gtest/gtest.h>

#include "r1/ops/devices.h"
#include "r1/util/error.h"

namespace r1::pipeline {
namespace {

DeviceChoice read(const std::string& text) { return read_device(ConfigNode::parse_text(text, "run.yaml", {})); }

TEST(Device, IsAutoUnlessSaid) {
  EXPECT_EQ(read("seed: 1"), DeviceChoice::kAuto);
  EXPECT_EQ(read("device: cpu"), DeviceChoice::kCpu);
  EXPECT_EQ(read("device: cuda"), DeviceChoice::kCuda);
  try {
    read("device: gpu");
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("run.yaml:1: device is"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("cuda"), std::string::npos) << e.what();
  }
}

TEST(Device, CpuIsAlwaysThereAndComputesInFloat32) {
  EXPECT_TRUE(choose_device(DeviceChoice::kCpu, "device").is_cpu());
  EXPECT_EQ(describe_device(at::kCPU), "cpu");
  EXPECT_EQ(compute_dtype(at::kCPU), at::kFloat);
  EXPECT_EQ(compute_dtype({at::kCUDA, 0}), at::kBFloat16);
}

TEST(Device, CudaIsRefusedWithTheReasonWhereThereIsNone) {
  if (!ops::gpus().empty()) GTEST_SKIP() << "there is a GPU here";
  EXPECT_TRUE(choose_device(DeviceChoice::kAuto, "device").is_cpu());
  EXPECT_FALSE(ops::why_no_gpu().empty());
  try {
    choose_device(DeviceChoice::kCuda, "run.yaml:3: device");
    ADD_FAILURE() << "accepted";
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_TRUE(what.starts_with("run.yaml:3: device: ")) << what;
    EXPECT_NE(what.find(ops::why_no_gpu()), std::string::npos) << what;
    EXPECT_NE(what.find("cpu, or auto"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace r1::pipeline
