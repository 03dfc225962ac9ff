#include <torch/torch.h>

#include <cstring>

#include "device_call.h"
#include "r1/ops/adamw.h"
#include "r1/ops/devices.h"

namespace r1::ops {

using device::Bf16;
using device::Call;
using kernels::cuda::AdamWChunk;
using kernels::cuda::AdamWTensor;
using torch::Tensor;

namespace {

constexpr int64_t kTensorInts = sizeof(AdamWTensor) / sizeof(int64_t), kChunkInts = sizeof(AdamWChunk) / sizeof(int64_t);
static_assert(sizeof(AdamWTensor) % sizeof(int64_t) == 0 && sizeof(AdamWChunk) % sizeof(int64_t) == 0);

template <class T>
Tensor as_ints(const std::vector<T>& rows, int64_t ints, at::Device place) {
  auto table = torch::empty({static_cast<int64_t>(rows.size()), ints}, at::kLong);
  if (!rows.empty()) std::memcpy(table.mutable_data_ptr<int64_t>(), rows.data(), rows.size() * sizeof(T));
  return to_device(table, place);
}

// The table's pointers, opened for the call's kernels.
AdamWTensor opened(const Call& call, const DeviceAdamW::Parameter& p) {
  return {call.update<float>(p.master),     call.read<float>(p.gradient), call.update<float>(p.exp_avg),
          call.update<float>(p.exp_avg_sq), call.update<Bf16>(p.copy),    p.master.numel(),
          p.decays ? 1 : 0};
}

}  // namespace

DeviceAdamW::DeviceAdamW(std::vector<Parameter> parameters) : parameters_(std::move(parameters)) {
  if (parameters_.empty()) return;
  std::vector<AdamWTensor> rows;
  {
    const Call call("adamw", parameters_[0].master);
    for (const auto& p : parameters_) rows.push_back(opened(call, p));
  }
  const auto place = parameters_[0].master.device();
  table_ = as_ints(rows, kTensorInts, place);
  chunks_ = as_ints(kernels::cuda::adamw_chunks(rows), kChunkInts, place);
}

Tensor DeviceAdamW::gradient_squares() const {
  if (parameters_.empty()) return torch::empty({0}, at::kDouble);
  auto squares = torch::empty({chunks_.size(0)}, parameters_[0].master.options().dtype(at::kDouble));
  const Call call("gradient_squares", squares);
  for (const auto& p : parameters_) call.read<float>(p.gradient);
  kernels::cuda::gradient_squares<float>(reinterpret_cast<const AdamWTensor*>(call.read<int64_t>(table_)),
                                         reinterpret_cast<const AdamWChunk*>(call.read<int64_t>(chunks_)), chunks_.size(0),
                                         call.write<double>(squares), call.stream());
  return squares;
}

Tensor DeviceAdamW::norm_of(const Tensor& squares, double max_norm) {
  if (squares.numel() == 0) return torch::tensor({0.0f, 1.0f});
  auto norm = torch::empty({2}, squares.options().dtype(at::kFloat));
  const Call call("gradient_norm", norm);
  kernels::cuda::norm_of_squares(call.read<double>(squares), squares.numel(), static_cast<float>(max_norm), call.write<float>(norm),
                                 call.stream());
  return norm;
}

void DeviceAdamW::step(const kernels::cuda::AdamWStep& step, const Tensor& norm_and_factor) const {
  if (parameters_.empty()) return;
  const Call call("adamw", norm_and_factor);
  for (const auto& p : parameters_) opened(call, p);
  kernels::cuda::adamw_step<float>(reinterpret_cast<const AdamWTensor*>(call.read<int64_t>(table_)),
                                   reinterpret_cast<const AdamWChunk*>(call.read<int64_t>(chunks_)), chunks_.size(0), step,
                                   call.read<float>(norm_and_factor) + 1, call.stream());
}

}  // namespace r1::ops
