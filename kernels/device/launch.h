#pragma once
#include <stdexcept>
#include <string>

#include "kernels/device/cuda.h"
#include "kernels/device/types.h"

// The one way to start a kernel.
namespace r1::kernels::device {

struct Launch {
  const char* name;         ///< of the operation, for messages
  int64_t blocks = 1;       ///< grid.x
  int64_t blocks_y = 1;     ///< grid.y; at most 65,535
  int threads = 128;        ///< of a block
  size_t shared_bytes = 0;  ///< dynamic shared memory
  cudaStream_t stream = nullptr;
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline void check_grid(const Launch& l) {
  if (l.blocks < 1 || l.blocks > 0x7FFFFFFF || l.blocks_y < 1 || l.blocks_y > 65535) {
    throw std::runtime_error(std::string(l.name) + ": a grid of " + std::to_string(l.blocks) + " x " +
                             std::to_string(l.blocks_y) + " blocks; accepted: 1 to 2^31 - 1 x 1 to 65535");
  }
}

#if defined(__CUDACC__)

inline void check_cuda(cudaError_t error, const char* name) {
  if (error != cudaSuccess) throw std::runtime_error(std::string(name) + ": " + cudaGetErrorString(error));
}

/// Shared memory that a block may have on the current device, in bytes.
inline size_t shared_limit() {
  int gpu = 0, bytes = 0;
  check_cuda(cudaGetDevice(&gpu), "shared_limit");
  check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, gpu), "shared_limit");
  return static_cast<size_t>(bytes);
}

/// Of the current device: how many blocks a kernel that walks over its work should start, per block that fits.
inline int multiprocessors() {
  int device = 0, count = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

/// kernel<<<...>>>(arguments...). Throws std::runtime_error if CUDA refuses the launch.
template <class... Parameters, class... Arguments>
void launch(const Launch& l, void (*kernel)(Parameters...), Arguments... arguments) {
  check_grid(l);
  if (l.shared_bytes > 48 * 1024) {
    check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(l.shared_bytes)),
               l.name);
  }
  kernel<<<dim3(static_cast<unsigned>(l.blocks), static_cast<unsigned>(l.blocks_y)), l.threads,
           l.shared_bytes, l.stream>>>(static_cast<Parameters>(arguments)...);
  check_cuda(cudaGetLastError(), l.name);
}

#else

using emulator::shared_limit;

inline int multiprocessors() { return 2; }  // few, so that the tests' blocks have to walk

template <class... Parameters, class... Arguments>
void launch(const Launch& l, void (*kernel)(Parameters...), Arguments... arguments) {
  check_grid(l);
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  } call{kernel, {static_cast<Parameters>(arguments)...}};
  emulator::run_grid(
      {static_cast<unsigned>(l.blocks), static_cast<unsigned>(l.blocks_y), 1},
      {static_cast<unsigned>(l.threads), 1, 1}, l.shared_bytes,
      [](const void* c) {
        const auto* one = static_cast<const Call*>(c);
        std::apply(one->kernel, one->parameters);
      },
      &call, sizeof call);
}

#endif

}  // namespace r1::kernels::device
