#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(R1_ON_GPU)
#include <cuda_runtime.h>
#else
#include "support/emulator/memory.h"
#endif

namespace r1::test {

/// Device memory of a kernel test: of the emulator, which checks bounds and that every element read back was
/// written, or of a GPU when the tests are built with R1_ON_GPU.
template <class T>
class DeviceArray {
 public:
  /// `count` elements that no kernel may read before it wrote them.
  explicit DeviceArray(int64_t count, const char* name = "array") : count_(count), name_(name) {
#if defined(R1_ON_GPU)
    check(cudaMalloc(reinterpret_cast<void**>(&data_), bytes() + 16));
    check(cudaMemset(data_, 0xFF, bytes()));
#else
    data_ = static_cast<T*>(emulator::allocate(bytes(), unit(), name));
#endif
  }
  explicit DeviceArray(const std::vector<T>& values, const char* name = "array")
      : DeviceArray(static_cast<int64_t>(values.size()), name) {
    assign(values);
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() {
#if defined(R1_ON_GPU)
    cudaFree(data_);
#else
    emulator::release(data_);
#endif
  }

  T* data() { return data_; }
  int64_t size() const { return count_; }

  void assign(const std::vector<T>& values) {
    if (static_cast<int64_t>(values.size()) != count_)
      throw std::runtime_error(std::string(name_) + ": another size");
    if (count_ == 0) return;
#if defined(R1_ON_GPU)
    check(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice));
#else
    __builtin_memcpy(static_cast<void*>(data_), values.data(), bytes());
    emulator::mark_initialized(data_, bytes(), true);
#endif
  }

  /// All elements. With the emulator: throws when one of them was never written.
  std::vector<T> to_host() const {
#if !defined(R1_ON_GPU)
    if (const int64_t at = emulator::first_uninitialized(data_, bytes()); at >= 0) {
      throw std::runtime_error(std::string(name_) + "[" +
                               std::to_string(at / static_cast<int64_t>(sizeof(T))) + "] was never written");
    }
#endif
    return to_host_unchecked();
  }
  /// Also those that no kernel wrote.
  std::vector<T> to_host_unchecked() const {
    std::vector<T> values(static_cast<size_t>(count_));
    if (count_ == 0) return values;
#if defined(R1_ON_GPU)
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(values.data(), data_, bytes(), cudaMemcpyDeviceToHost));
#else
    __builtin_memcpy(static_cast<void*>(values.data()), data_, bytes());
#endif
    return values;
  }

 private:
  size_t bytes() const { return static_cast<size_t>(count_) * sizeof(T); }
  static constexpr size_t unit() { return alignof(T) >= 4 ? 4 : alignof(T); }
#if defined(R1_ON_GPU)
  static void check(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
  }
#endif

  T* data_ = nullptr;
  int64_t count_ = 0;
  const char* name_;
};

}  // namespace r1::test
