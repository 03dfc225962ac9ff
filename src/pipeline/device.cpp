#include "r1/pipeline/device.h"

#include "r1/ops/devices.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"

namespace r1::pipeline {
namespace {

const std::vector<std::string> kNames{"auto", "cpu", "cuda"};

}  // namespace

DeviceChoice device_of_name(const std::string& name) {
  return name == "cuda" ? DeviceChoice::kCuda : name == "cpu" ? DeviceChoice::kCpu : DeviceChoice::kAuto;
}

DeviceChoice read_device(const ConfigNode& node) {
  std::string name = "auto";
  node.read("device", name, one_of(kNames));
  return device_of_name(name);
}

at::Device choose_device(DeviceChoice choice, const std::string& where, int index) {
  if (choice == DeviceChoice::kCpu) return at::kCPU;
  const auto why = ops::why_no_gpu();
  if (why.empty()) {
    const auto found = static_cast<int>(ops::gpus().size());
    if (index >= found) {
      throw Error(cat(where, ": the launcher has started more than ", index, " ranks on this machine, which has ", found,
                      found == 1 ? " GPU" : " GPUs", "; accepted: one rank for each GPU.\n  Start fewer, or write device: cpu."));
    }
    const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
    ops::prepare(device);
    return device;
  }
  if (choice == DeviceChoice::kAuto) return at::kCPU;
  throw Error(cat(where, ": device is cuda; ", why, ".\n  Accepted here: cpu, or auto, which takes a GPU where there is one."));
}

std::string describe_device(at::Device device) {
  if (!device.is_cuda()) return device.str();
  const auto found = ops::gpus();
  const auto i = static_cast<size_t>(device.index());
  return i < found.size() ? cat(device.str(), ", ", found[i].name, ", ", human_bytes(static_cast<double>(found[i].memory_bytes)))
                          : device.str();
}

at::ScalarType compute_dtype(at::Device device) { return device.is_cpu() ? at::kFloat : at::kBFloat16; }

}  // namespace r1::pipeline
