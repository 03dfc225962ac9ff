#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace r1::test {

/// While one lives, tensors of the CPU in bf16 or float32 count as lying on a device: their operations run src/ops/device_*.cpp,
/// which call our CUDA kernels under the emulator; everything else of ATen (cuBLAS's part, element-wise sums) is ATen's on the
/// CPU. float64 stays the plain twin, so a test can compute both. Of the thread that made it.
class EmulatedDevice {
 public:
  /// compute_capability: what the device says it is, 80 or 90 for example. Decides between torch's products and ours.
  explicit EmulatedDevice(int compute_capability = 80);
  ~EmulatedDevice();
  EmulatedDevice(const EmulatedDevice&) = delete;
  EmulatedDevice& operator=(const EmulatedDevice&) = delete;

  /// How often each operation called its launchers since this was made, and how often launches were recorded ("record_graph").
  const std::map<std::string, int64_t>& calls() const;
};

}  // namespace r1::test
