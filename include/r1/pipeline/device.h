#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "r1/util/config.h"

namespace r1::pipeline {

/// What a run computes on: the key or option `device`.
enum class DeviceChoice { kAuto, kCpu, kCuda };

/// Reads `device`: auto (the default), cpu or cuda. Whether there is a GPU is not looked at: a plan needs none.
DeviceChoice read_device(const ConfigNode& node);
/// The same of a command's option.
DeviceChoice device_of_name(const std::string& name);

/// The device to compute on; auto is the first GPU where the program has CUDA and finds one, else the CPU. Throws Error, beginning
/// with `where` (a file:line:key, or an option), when cuda is asked for and there is none. `index`: which of the machine's GPUs, for
/// several ranks on it.
at::Device choose_device(DeviceChoice choice, const std::string& where, int index = 0);
/// "cpu" or "cuda:0, NVIDIA H200, 139.8 GiB".
std::string describe_device(at::Device device);
/// What a model computes in there: float32 on a CPU, bf16 on a device.
at::ScalarType compute_dtype(at::Device device);

}  // namespace r1::pipeline
