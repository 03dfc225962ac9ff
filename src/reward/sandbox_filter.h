#pragma once
#include <linux/filter.h>

#include <string>
#include <vector>

namespace r1::sandbox {

/// The system calls that programs need, as BPF programs: all others answer ENOSYS, so that libraries fall
/// back (glibc from clone3 to clone). No socket but a pair of AF_UNIX, no namespaces, no ptrace or access to
/// another process's memory, no System V or POSIX queues, no memfd (its pages would escape the memory watch).
/// A call of another architecture's table ends the thread. threads_only: no new processes and no kill(), for
/// Isolation::kNone, where both would reach beyond the run.
struct Filters {
  std::vector<sock_filter> may_fork, threads_only;
};
/// Empty, or what failed.
std::string build_filters(Filters& filters);

/// Puts the filter on the calling process for good; needs no_new_privs. False with errno when refused.
bool load_filter(const std::vector<sock_filter>& filter);

}  // namespace r1::sandbox
