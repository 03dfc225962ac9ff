#include "support/emulator/fiber.h"

#include <sys/mman.h>

#include <new>

// r1_emulator_switch(void** save, void* load): pushes what the ABI asks a callee to keep, swaps stacks, pops.
asm(R"(
.text
.globl r1_emulator_switch
.type r1_emulator_switch,@function
r1_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size r1_emulator_switch,.-r1_emulator_switch
)");
extern "C" void r1_emulator_switch(void** save, void* load);

namespace r1::emulator {

Fiber::~Fiber() {
  if (stack_ != 0) munmap(reinterpret_cast<void*>(stack_), kStackBytes);
}

void Fiber::prepare(void (*entry)()) {
  if (stack_ == 0) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, 4096, PROT_NONE);  // an overflow stops here and not in the neighbour's stack
    stack_ = reinterpret_cast<uintptr_t>(memory);
  }
  auto* top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;  // where a return address would be: keeps entry's stack aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
}

void Fiber::resume() { r1_emulator_switch(&caller_, stack_pointer_); }
void Fiber::leave() { r1_emulator_switch(&stack_pointer_, caller_); }

}  // namespace r1::emulator
