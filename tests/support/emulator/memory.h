#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "support/emulator/fault.h"

// What kernels may touch, what has been written, and who touched it last.
namespace r1::emulator {

enum class Access { kRead, kWrite, kAtomic };

/// The accessing thread, as far as the order of accesses depends on it.
struct Accessor {
  uint16_t thread;      ///< linear index in its block
  uint16_t warp_epoch;  ///< __syncwarp's of its whole warp so far
  uint32_t epoch;       ///< unique number of (launch, block, interval between two barriers)
};
/// First epoch of the running launch and of the running block: older ones are ordered before all of it.
struct EpochRange {
  uint32_t launch_begin;
  uint32_t block_begin;
};

/// Checks one access of the running thread: inside a registered buffer, written before it is read, no race.
/// `pc` is an instruction of the access. Calls fail() at the first fault.
void check_access(const void* address, size_t bytes, Access access, const void* pc);
/// What the kernels' vector loads, vector stores and atomics are made of: alignment and check_access, then the copy.
void read_vector(const void* from, void* to, size_t bytes, const Site& site);
void write_vector(void* to, const void* from, size_t bytes, const Site& site);
void begin_atomic(void* address, size_t bytes, const Site& site);
void copy_unchecked(void* to, const void* from, size_t bytes);
/// Marks bytes as written by the host, or as never written.
void mark_initialized(const void* address, size_t bytes, bool initialized);
/// Offset of the first byte that was never written; -1: none.
int64_t first_uninitialized(const void* address, size_t bytes);

/// Global memory, poisoned, with 256 bytes of guard at both ends; `element_bytes` is the unit of the race
/// check.
void* allocate(size_t bytes, size_t element_bytes, const std::string& name);
void release(void* memory);

/// Lets kernels touch `bytes` of somebody else's memory until forget(); it has no guard, so what is beside it must not be
/// registered. mark_initialized() says what is in it.
void adopt(void* memory, size_t bytes, size_t element_bytes, const std::string& name);
void forget(void* memory);

/// Bytes that kernels moved since reset_traffic(), each access counted, registered buffers only.
struct Traffic {
  int64_t read_bytes = 0, written_bytes = 0, atomics = 0;
};
Traffic traffic();
void reset_traffic();

// For the grid: shared memory of the running block.
void begin_block_memory(size_t dynamic_bytes);
void* dynamic_shared_memory();
void* shared_variable_memory(const void* tag, size_t bytes, const char* name);
constexpr size_t kMaxSharedBytes = 227 * 1024;   // of a block on sm_90
constexpr size_t kSmallSharedBytes = 163 * 1024;  // on sm_80

}  // namespace r1::emulator
