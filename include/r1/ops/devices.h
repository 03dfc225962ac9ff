#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

// Which devices there are, and how tensors get there.
namespace r1::ops {

/// A GPU that this program can use.
struct Gpu {
  std::string name;
  int64_t memory_bytes = 0, free_bytes = 0;
  int major = 0, minor = 0;  ///< compute capability
};

/// The GPUs of this machine that the program's kernels run on; none in a build without CUDA. Does not throw.
std::vector<Gpu> gpus();
/// Why gpus() is empty, as the end of a sentence and what to do; empty when it is not.
std::string why_no_gpu();

/// Whether x belongs to a device, where matrix products are in bf16 and the optimizer keeps the float32 weights.
bool on_device(const at::Tensor& x);

/// Settings of LibTorch that results there depend on: cuBLAS adds up in float32 also where it splits a sum. Once per program.
void prepare(at::Device device);

/// Waits until all that was queued there is done: for clocks, and before the program ends. Nothing on a CPU.
void synchronize(at::Device device);

/// x there, without waiting for the device: a copy from the host is queued. x itself when it is there.
at::Tensor to_device(const at::Tensor& x, at::Device device);

}  // namespace r1::ops
