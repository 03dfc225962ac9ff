#include "sandbox_filter.h"

#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace r1::sandbox {
namespace {

constexpr const char* kAllowed[] = {
    // files
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "open", "openat", "creat", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "statx",
    "access", "faccessat", "faccessat2", "lseek", "fcntl", "flock", "fsync", "fdatasync", "truncate",
    "ftruncate", "fallocate", "fadvise64", "getdents", "getdents64", "getcwd", "chdir", "fchdir", "rename",
    "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "link", "linkat", "unlink", "unlinkat", "symlink",
    "symlinkat", "readlink", "readlinkat", "chmod", "fchmod", "fchmodat", "umask", "utime", "utimes",
    "utimensat", "futimesat", "statfs", "fstatfs", "dup", "dup2", "dup3", "pipe", "pipe2", "sendfile",
    "copy_file_range", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
    // memory
    "mmap", "mprotect", "munmap", "mremap", "madvise", "brk", "msync", "mincore", "membarrier",
    // waiting and time
    "select", "pselect6", "poll", "ppoll", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "eventfd2", "nanosleep", "clock_nanosleep", "clock_gettime",
    "clock_getres", "gettimeofday", "time", "times", "getitimer", "setitimer", "alarm", "pause",
    "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete", "timerfd_create",
    "timerfd_settime", "timerfd_gettime",
    // processes and signals
    "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "tgkill", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "signalfd4", "getpid",
    "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
    "getpgrp", "getpgid", "getsid", "setsid", "setpgid", "capget", "arch_prctl", "set_tid_address",
    "set_robust_list", "get_robust_list", "futex", "futex_waitv", "rseq", "restart_syscall", "sched_yield",
    "sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_getscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "getpriority", "getcpu", "getrlimit", "setrlimit",
    "getrusage", "sysinfo", "uname", "getrandom",
    // the two ends of a socketpair
    "sendmsg", "recvmsg", "sendto", "recvfrom", "getsockopt", "setsockopt", "getsockname", "getpeername",
    "shutdown"};

constexpr unsigned kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr unsigned kIoctls[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX};
constexpr unsigned kPrctls[] = {PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_GET_DUMPABLE};

int add_rules(scmp_filter_ctx filter, bool may_fork) {
  int worst = 0;
  for (const char* name : kAllowed) {
    const int number = seccomp_syscall_resolve_name(name);
    // An old name that this architecture never had, or a new one that this libseccomp does not know.
    if (number < 0) continue;
    worst = std::min(worst, seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0));
  }
  const auto allow_if = [&](int number, scmp_arg_cmp condition) {
    worst = std::min(worst, seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &condition));
  };
  if (may_fork) {
    for (const int number :
         {SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(rt_sigqueueinfo)})
      worst = std::min(worst, seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0));
    allow_if(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces, 0));
  } else {
    allow_if(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces | CLONE_THREAD, CLONE_THREAD));
  }
  allow_if(SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
  allow_if(SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_EQ, 0, 0));  // 0: the caller itself
  for (const unsigned request : kIoctls)
    allow_if(SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, request));  // the kernel reads 32 bits
  for (const unsigned option : kPrctls)
    allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, option));
  return worst;
}

std::vector<sock_filter> export_filter(scmp_filter_ctx filter) {
  const int file = memfd_create("filter", MFD_CLOEXEC);
  std::vector<sock_filter> program;
  if (file >= 0 && seccomp_export_bpf(filter, file) == 0) {
    program.resize(size_t(lseek(file, 0, SEEK_END)) / sizeof(sock_filter));
    const size_t bytes = program.size() * sizeof(sock_filter);
    if (pread(file, program.data(), bytes, 0) != ssize_t(bytes)) program.clear();
  }
  if (file >= 0) close(file);
  return program;
}

std::vector<sock_filter> build_filter(bool may_fork) {
  std::vector<sock_filter> program;
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
  if (filter != nullptr && seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) == 0 &&
      add_rules(filter, may_fork) == 0)
    program = export_filter(filter);
  seccomp_release(filter);
  return program;
}

}  // namespace

std::string build_filters(Filters& filters) {
  filters = {build_filter(true), build_filter(false)};
  const bool failed = filters.may_fork.empty() || filters.threads_only.empty();
  return failed ? "libseccomp could not build the filter of system calls" : "";
}

bool load_filter(const std::vector<sock_filter>& filter) {
  const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                              const_cast<sock_filter*>(filter.data())};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

}  // namespace r1::sandbox
