#pragma once
#include <cstdint>
#include <string>

namespace r1::apps {

/// What the program runs on.
struct Machine {
  std::string cpu;               ///< model name
  int cores = 0;                 ///< that this process may use
  uint64_t memory_bytes = 0;     ///< installed, or the limit of the container
  uint64_t available_bytes = 0;  ///< of memory, now
  uint64_t disk_free_bytes = 0;  ///< where the working folder lies
  bool gpu_present = false;      ///< /dev/nvidia0 exists
};
Machine describe_machine();

/// Best of several short runs, so that a busy neighbour counts little.
double gemm_gflops();           ///< float32 product 1024 x 1024 x 1024: 2 * 1024^3 operations / seconds / 1e9
double copy_gigabytes_per_s();  ///< 128 MiB copied by all threads: bytes read + bytes written / seconds / 1e9

}  // namespace r1::apps
