#pragma once
#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace r1::sandbox {

struct TreeUse {
  double cpu_seconds = 0;    ///< of the living processes and of the dead ones they waited for
  int64_t memory_bytes = 0;  ///< resident; pages that two processes share count twice
  int64_t processes = 0;     ///< threads count
};

/// Of `root` and all its descendants, from the /proc behind `proc`. A process that changes parents meanwhile
/// may be missed until the next call. Needs a kernel with /proc/<pid>/task/<tid>/children, else only `root`.
TreeUse tree_use(int proc, pid_t root);

}  // namespace r1::sandbox
