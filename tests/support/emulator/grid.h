#pragma once
#include <cstddef>
#include <cstdint>

#include "support/emulator/fault.h"
#include "support/emulator/memory.h"

// Runs a grid block by block, a block's threads as fibers, each until it has to wait.
namespace r1::emulator {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};

/// In which order the threads of a block run between two barriers; each one is legal on a GPU.
enum class ThreadOrder { kAscending, kDescending, kRandom };
struct Options {
  ThreadOrder order = ThreadOrder::kAscending;
  uint64_t seed = 1;
  size_t shared_bytes = kMaxSharedBytes;  ///< what a block may have: that of sm_90, or of a smaller card
};
void set_options(const Options& options);
/// The running Options' shared_bytes.
size_t shared_limit();

/// Runs call(argument) once for each thread. Throws Fault at the first error, from the host's stack.
/// `argument_bytes` at `argument` are the kernel's parameters, which every thread may read.
void run_grid(Index3 grid, Index3 block, size_t dynamic_shared_bytes, void (*call)(const void*),
              const void* argument, size_t argument_bytes);

/// True while the kernel's own code runs. The emulator's code turns it off for itself, because it shares
/// inline functions of the standard library with the kernels' instrumented objects.
extern constinit thread_local bool in_device_code;
class HostSection {
 public:
  HostSection();
  ~HostSection();
  HostSection(const HostSection&) = delete;
  HostSection& operator=(const HostSection&) = delete;

 private:
  bool before_;
};

// Of the running thread.
Index3 thread_index();
Index3 block_index();
Index3 block_dim();
Index3 grid_dim();
Accessor accessor();
EpochRange epoch_range();
bool is_private(uintptr_t address);           ///< on its own stack, or a kernel parameter
bool is_program_constant(uintptr_t address);  ///< in this program's image

enum class BarrierKind { kPlain, kCount, kAnd, kOr };
/// __syncthreads and its voting forms.
int barrier(BarrierKind kind, int predicate, Site site);

/// An operation that the lanes of `mask` do together: the last one to arrive calls combine(payloads, lanes)
/// with a pointer for each lane (null where it takes no part). Faults when a lane of the mask does something
/// else.
using Combine = void (*)(void* const (&payloads)[32], unsigned lanes);
void warp_collective(const char* what, unsigned mask, void* payload, Combine combine, Site site);
unsigned lane_index();
/// __syncwarp: a warp_collective that also orders memory.
void sync_warp(unsigned mask, Site site);

// cp.async of the running thread: bytes beyond `source_bytes` become zero.
void copy_async(void* shared, const void* global, size_t bytes, size_t source_bytes);
void copy_async_commit();
void copy_async_wait(int groups_left);

/// Floating-point operations of the matrix instructions since reset_matrix_flops().
int64_t matrix_flops();
void reset_matrix_flops();
void count_matrix_flops(int64_t flops);

}  // namespace r1::emulator
