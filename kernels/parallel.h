#pragma once
#include <cstdint>
#include <functional>

namespace r1::kernels {

/// Runs fn(0) ... fn(num_tasks - 1) on LibTorch's own thread pool (libgomp's, so nothing is oversubscribed). Tasks are
/// handed out one by one; their order is unspecified, so each must write only what is its own. A call from inside a
/// task runs serially.
void parallel_for(int64_t num_tasks, const std::function<void(int64_t)>& fn);

/// Threads that parallel_for uses; 0 resets to all cores this process may run on.
void set_num_threads(int num_threads);
int num_threads();

}  // namespace r1::kernels
