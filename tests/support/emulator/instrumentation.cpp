// The entry points that a compiler calls at every memory access under -fsanitize=thread. The kernels' objects
// are compiled with that flag and linked without its run-time library: these functions take its place.
#include <cstring>

#include "support/emulator/grid.h"
#include "support/emulator/memory.h"

using r1::emulator::Access;

#define R1_CHECK(address, bytes, access)                                               \
  do {                                                                                 \
    if (r1::emulator::in_device_code) {                                                \
      r1::emulator::check_access(address, bytes, access, __builtin_return_address(0)); \
    }                                                                                  \
  } while (false)
#define R1_ENTRY(bytes)                                                             \
  void __tsan_read##bytes(void* p) { R1_CHECK(p, bytes, Access::kRead); }           \
  void __tsan_write##bytes(void* p) { R1_CHECK(p, bytes, Access::kWrite); }         \
  void __tsan_unaligned_read##bytes(void* p) { R1_CHECK(p, bytes, Access::kRead); } \
  void __tsan_unaligned_write##bytes(void* p) { R1_CHECK(p, bytes, Access::kWrite); }

extern "C" {
R1_ENTRY(1)
R1_ENTRY(2)
R1_ENTRY(4)
R1_ENTRY(8)
R1_ENTRY(16)
void __tsan_read_range(void* p, size_t bytes) { R1_CHECK(p, bytes, Access::kRead); }
void __tsan_write_range(void* p, size_t bytes) { R1_CHECK(p, bytes, Access::kWrite); }
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  if (bytes > 0) {
    R1_CHECK(from, bytes, Access::kRead);
    R1_CHECK(to, bytes, Access::kWrite);
  }
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  if (bytes > 0) {
    R1_CHECK(from, bytes, Access::kRead);
    R1_CHECK(to, bytes, Access::kWrite);
  }
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  if (bytes > 0) R1_CHECK(to, bytes, Access::kWrite);
  return std::memset(to, value, bytes);
}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
}
