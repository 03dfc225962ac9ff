#pragma once
#include <linux/filter.h>

#include <string>
#include <vector>

namespace r1::sandbox {

/// The system calls that programs need, as a BPF program: all others answer ENOSYS, so that libraries fall
/// back (glibc from clone3 to clone). No socket but a pair of AF_UNIX, no namespaces, no ptrace or access to
/// another process's memory, no System V or POSIX queues, no memfd (its pages would escape the memory watch).
/// A call of another architecture's table ends the thread. Empty, with `error`, where libseccomp fails.
std::vector<sock_filter> build_filter(std::string& error);

/// Puts the filter on the calling process for good; needs no_new_privs. False with errno when refused.
bool load_filter(const std::vector<sock_filter>& filter);

}  // namespace r1::sandbox
