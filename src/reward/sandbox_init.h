#pragma once
#include <string>
#include <vector>

#include "sandbox_filter.h"
#include "sandbox_wire.h"

namespace r1::sandbox {

/// What the first process of a session tells its server after each run.
struct Status {
  int status = 0;  ///< as from wait4
  double cpu_seconds = 0;
  int64_t peak_memory_bytes = 0;
};

/// The first process of a session, in the working folder: writes the files, then serves runs until the server
/// goes away. `control` is a SOCK_SEQPACKET: kRun with argv, limits and may_fork comes with four descriptors
/// (stdin, stdout, stderr, secret); kKill ends the run in progress. Never returns.
///
/// It is process 1 of its namespace, so its death ends all others; signals of theirs cannot kill it. Where it
/// is not (Isolation::kNone) a run is one process group, which only trusted programs can fill.
[[noreturn]] void serve_session(int control, const Open& open, const Filters& filters);

/// The first message at `control`: "started", or what failed.
bool tell_started(int control, const std::string& error);

/// Sends `bytes` with descriptors over a SOCK_SEQPACKET; receives the same, at most four descriptors.
bool send_with_fds(int socket, std::string_view bytes, const std::vector<int>& fds);
bool receive_with_fds(int socket, std::string& bytes, std::vector<int>& fds);

}  // namespace r1::sandbox
