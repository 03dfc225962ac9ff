#pragma once

namespace r1 {

/// From now on SIGINT and SIGTERM only set a flag: the running step finishes, a checkpoint is written, then
/// the program exits with 130 or 143. A second SIGINT or SIGTERM ends the process at once with 128 + its
/// number. SIGUSR1 counts as SIGTERM: mpirun passes it on to its ranks, and SIGTERM it does not. The handler says so on stderr, by async-signal-safe calls only. Calling it again changes nothing.
/// System calls are restarted.
void install_stop_signals();

/// 0, or the first signal that arrived (SIGINT, SIGTERM).
int stop_signal();

}  // namespace r1
