#include "machine.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/parallel.h"
#include "r1/util/progress.h"

namespace r1::apps {
namespace {

std::string value_in(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == line.npos ? "" : line.substr(begin);
  }
  return "";
}

uint64_t kib_in_meminfo(const std::string& key) {
  const std::string text = value_in("/proc/meminfo", key);
  return std::strtoull(text.c_str(), nullptr, 10) * 1024;
}

uint64_t container_limit() {  // cgroup v2; "max" or no file: none
  std::ifstream in("/sys/fs/cgroup/memory.max");
  uint64_t bytes = 0;
  return in >> bytes ? bytes : UINT64_MAX;
}

double best_seconds(double budget_s, const std::function<void()>& work) {
  work();  // pages are touched, threads are started
  double best = 1e9;
  const double end = monotonic_s() + budget_s;
  do {
    const double start = monotonic_s();
    work();
    best = std::min(best, monotonic_s() - start);
  } while (monotonic_s() < end);
  return best;
}

}  // namespace

Machine describe_machine() {
  Machine m;
  m.cpu = value_in("/proc/cpuinfo", "model name");
  cpu_set_t set;
  CPU_ZERO(&set);
  m.cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  m.memory_bytes = std::min(kib_in_meminfo("MemTotal"), container_limit());
  m.available_bytes = kib_in_meminfo("MemAvailable");
  std::error_code error;
  const auto space = std::filesystem::space(".", error);
  m.disk_free_bytes = error ? 0 : space.available;
  m.gpu_present = std::filesystem::exists("/dev/nvidia0", error);
  return m;
}

double gemm_gflops() {
  constexpr int64_t kSize = 1024;
  const std::vector<float> a(kSize * kSize, 1.0f), b(kSize * kSize, 0.5f);
  std::vector<float> c(kSize * kSize);
  const double seconds = best_seconds(0.7, [&] {
    kernels::gemm(kSize, kSize, kSize, kernels::row_major(a.data(), kSize),
                  kernels::row_major(b.data(), kSize), c.data(), kSize);
  });
  return 2.0 * kSize * kSize * kSize / seconds / 1e9;
}

double copy_gigabytes_per_s() {
  constexpr int64_t kBytes = 128 << 20, kPiece = 1 << 20;
  const std::vector<char> from(kBytes, 1);
  std::vector<char> to(kBytes);
  const double seconds = best_seconds(0.5, [&] {
    kernels::parallel_for(kBytes / kPiece, [&](int64_t i) {
      std::memcpy(to.data() + i * kPiece, from.data() + i * kPiece, kPiece);
    });
  });
  return 2.0 * kBytes / seconds / 1e9;
}

}  // namespace r1::apps
