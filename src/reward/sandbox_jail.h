#pragma once
#include <string>
#include <vector>

#include "r1/reward/sandbox.h"

// What a sandbox server does once (enter_jail) and what the first process of each session does
// (enter_session). Each returns an empty text, or what failed and why.
namespace r1::sandbox {

/// Namespaces for the server: its mounts (a read-only root in memory with `read_only` bound into it), no
/// network, its own host name. root becomes nobody; others become the only user of a user namespace.
std::string enter_jail(const std::vector<std::string>& read_only);

/// In a child cloned with kSessionNamespaces: keeps the parent's ids, mounts an empty /tmp of
/// limits.file_bytes, goes there, and gives up every capability. `proc` is the machine's /proc.
std::string enter_session(int proc, unsigned uid, unsigned gid, const SandboxLimits& limits);
extern const int kSessionNamespaces;

/// root becomes nobody, so that the kernel counts its processes; others stay who they are.
std::string become_nobody();

/// The same /tmp for a session under bubblewrap, whose own has no limit of names; before the privileges are dropped.
/// Where the system leaves bubblewrap's programs no privilege the limit is missing.
void limit_names(const SandboxLimits& limits);

/// The start of a bwrap command for a session; more options and the program follow.
std::vector<std::string> bubblewrap_command(const std::vector<std::string>& read_only,
                                            const SandboxLimits& limits);

/// Gives up all capabilities and the ways to get new ones, for good.
std::string drop_privileges();

}  // namespace r1::sandbox
