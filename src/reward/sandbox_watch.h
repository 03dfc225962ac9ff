#pragma once
#include <sys/types.h>

#include <string>
#include <string_view>

#include "sandbox_wire.h"

namespace r1::sandbox {

/// One run in the session behind `control`: feeds stdin, collects what comes out, and every 20 ms compares
/// the processes below `session` with the limits. A run over a limit is killed by the session's first
/// process, which then waits for the next; if that does not answer within five seconds, the session is
/// broken. Ends the calling process when `client` goes away.
RunResult watch_run(int client, int control, int proc, pid_t session, std::string_view run);

}  // namespace r1::sandbox
