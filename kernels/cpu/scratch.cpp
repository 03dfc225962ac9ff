#include "kernels/cpu/scratch.h"

#include <cstdlib>
#include <new>
#include <utility>

namespace r1::kernels {

Scratch::~Scratch() { std::free(data_); }
Scratch::Scratch(Scratch&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
Scratch& Scratch::operator=(Scratch&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

float* Scratch::reserve(int64_t count) {
  if (count > capacity_) {
    std::free(data_);
    data_ = nullptr;
    capacity_ = 0;
    const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 4095) / 4096 * 4096;
    data_ = static_cast<float*>(std::aligned_alloc(4096, bytes));
    if (data_ == nullptr) throw std::bad_alloc();
    capacity_ = static_cast<int64_t>(bytes / sizeof(float));
  }
  return data_;
}

float* thread_scratch(int slot, int64_t count) {
  thread_local Scratch slots[8];
  return slots[slot].reserve(count);
}

}  // namespace r1::kernels
