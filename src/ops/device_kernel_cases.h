#pragma once
#include <cstring>

#include "r1/ops/kernel_cases.h"

#include <torch/torch.h>

// The parts of device_kernel_cases(): each family of operations adds its rows to the table.
namespace r1::ops {

std::vector<KernelCaseMaker> device_attention_cases(at::Device place, CaseSize size);
std::vector<KernelCaseMaker> device_expert_cases(at::Device place, CaseSize size);

inline at::Tensor random_bf16(at::Device place, at::IntArrayRef sizes, double scale = 1) {
  return torch::randn(sizes, torch::TensorOptions().device(place).dtype(at::kBFloat16)).mul_(scale);
}

/// Plain structs as bytes on the device.
template <class T>
at::Tensor table_on(at::Device place, const std::vector<T>& rows) {
  auto bytes = torch::empty({static_cast<int64_t>(rows.size() * sizeof(T))}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), rows.data(), rows.size() * sizeof(T));
  return bytes.to(place);
}

}  // namespace r1::ops
