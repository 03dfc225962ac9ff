#include "kernels/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>

// libgomp's entry point, called directly: clang's own OpenMP runtime would bring a second thread pool beside LibTorch's.
extern "C" void GOMP_parallel(void (*fn)(void*), void* data, unsigned num_threads, unsigned flags);

namespace r1::kernels {
namespace {

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

std::atomic<int> g_num_threads{0};
thread_local bool t_inside_task = false;

struct Region {
  const std::function<void(int64_t)>* fn;
  int64_t num_tasks;
  std::atomic<int64_t> next{0};
};

void work(void* data) {
  auto& region = *static_cast<Region*>(data);
  t_inside_task = true;
  for (int64_t i; (i = region.next.fetch_add(1, std::memory_order_relaxed)) < region.num_tasks;) (*region.fn)(i);
  t_inside_task = false;
}

}  // namespace

void set_num_threads(int num_threads) { g_num_threads = num_threads; }

int num_threads() {
  const int n = g_num_threads;
  static const int cores = available_cores();
  return n > 0 ? n : cores;
}

void parallel_for(int64_t num_tasks, const std::function<void(int64_t)>& fn) {
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), num_tasks));
  if (threads <= 1 || t_inside_task) {
    for (int64_t i = 0; i < num_tasks; ++i) fn(i);
    return;
  }
  Region region{&fn, num_tasks};
  GOMP_parallel(work, &region, static_cast<unsigned>(threads), 0);
}

}  // namespace r1::kernels
