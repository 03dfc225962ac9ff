#pragma once
#include <cstddef>
#include <cstdint>

namespace r1::emulator {

/// A stack of its own that runs a function until it switches away; the emulator keeps one per CUDA thread of
/// a block. x86-64 only, as the CPU kernels are. A switch saves the callee-saved registers: a few
/// nanoseconds, no system call.
class Fiber {
 public:
  static constexpr size_t kStackBytes = 256 * 1024;  // reserved; pages are taken when touched

  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() calls entry() on an empty stack. entry must never return.
  void prepare(void (*entry)());
  /// Runs the fiber until it calls leave(). Not from inside a fiber.
  void resume();
  /// Back to resume()'s caller, from inside this fiber.
  void leave();

  bool owns(uintptr_t address) const { return address - stack_ < kStackBytes; }

 private:
  uintptr_t stack_ = 0;
  void* stack_pointer_ = nullptr;
  void* caller_ = nullptr;
};

}  // namespace r1::emulator
