#pragma once
#include <optional>

#include "status.h"

namespace r1::dist {

/// A rank as the judge knows it.
struct Witness {
  RankStatus status;      ///< the newest that has been read
  double silent_s = 0;    ///< since its beat has changed, by the judge's own ticks
  bool gone = false;      ///< it ran on this machine, and its process has ended
  bool stopped = false;   ///< it is on this machine, and its process is stopped (SIGSTOP, a debugger)
};

struct Limits {
  double deadline_s, heartbeat_s;
};

/// What is wrong with these ranks, in one sentence or two that name the culprit; nothing if all is well. The first of:
///   1. a process has ended without having left
///   2. a rank gave no sign of life for heartbeat_s
///   3. two ranks are in different collectives of one number
///   4. a rank waits for one that has left, or that has failed
///   5. a rank has waited for longer than deadline_s: for whom, and where are they
std::optional<std::string> find_fault(const std::vector<Witness>& ranks, const Limits& limits);

/// "rank 2 (pid 71 on hostA) is lost: its process has ended. It was in phase 'backward', after collective 1,203."
std::string lost_text(const RankStatus& rank, const std::string& why);

/// The whole message of one rank: what was found, where this rank stands, what to do.
std::string message_of(const std::string& finding, const RankStatus& own);

}  // namespace r1::dist
