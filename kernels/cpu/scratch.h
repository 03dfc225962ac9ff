#pragma once
#include <cstddef>
#include <cstdint>

namespace r1::kernels {

/// A 64-byte aligned buffer of floats that only grows and is never cleared.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(Scratch&& other) noexcept;
  Scratch& operator=(Scratch&& other) noexcept;
  float* reserve(int64_t count);
  const float* data() const { return data_; }

 private:
  float* data_ = nullptr;
  int64_t capacity_ = 0;
};

/// This thread's buffer number `slot` (0..7) with room for `count` floats; valid until the slot's next use here.
float* thread_scratch(int slot, int64_t count);

}  // namespace r1::kernels
