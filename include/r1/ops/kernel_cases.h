#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

// What `r1 bench kernels` times: our operations at the shapes of real models, each beside torch's way to the same result.
namespace r1::ops {

/// Both ways on the same tensors. They return what can be compared, or nothing (an undefined tensor).
struct KernelCase {
  std::function<at::Tensor()> ours, plain;
  std::string plain_name;  ///< what `plain` calls: "ATen", "_grouped_mm", "fused AdamW", ...
  double bytes = 0;        ///< that have to move at least: operands read once, results written once
  double flop = 0;         ///< of products, 2 per multiply-add; 0 where memory alone counts
};

/// A row of the table. Its tensors are made by make() and live as long as the case.
struct KernelCaseMaker {
  std::string op, shape;
  std::function<KernelCase()> make;
};

/// Which shapes: those of Qwen2.5-0.5B, a tiny mixture of experts and a layer like DeepSeek-V3's, or as small as a test wants.
enum class CaseSize { kModel, kTest };

/// float32 on a CPU.
std::vector<KernelCaseMaker> cpu_kernel_cases(CaseSize size);

/// bf16 on a device; empty in a build without CUDA.
std::vector<KernelCaseMaker> device_kernel_cases(at::Device device, CaseSize size);

}  // namespace r1::ops
