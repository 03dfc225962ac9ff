#pragma once
#include <string>
#include <vector>

#include "r1/dist/communicator.h"

namespace r1::apps {

/// What one rank says of itself to the others.
struct RankReport {
  std::string host, version, folder_seen;  ///< folder_seen: the text that it reads in the first rank's file; empty: it sees no such file
  double clock_s = 0;                      ///< system clock just behind a barrier
  double free_bytes = 0;                   ///< where it stands
};

/// One line of `r1 doctor` under a launcher.
struct RankFinding {
  std::string name, found;
  bool passed = true;
};

/// What the reports of all ranks say: versions, clocks, the folder that all share, free space. `written`: what the first rank has
/// written there; `folder`: its path.
std::vector<RankFinding> judge_ranks(const std::vector<RankReport>& reports, const std::string& written, const std::string& folder);

/// Asks all ranks and measures the links between them. Collective; every rank gets the findings.
std::vector<RankFinding> examine_ranks(dist::Communicator& ranks);

}  // namespace r1::apps
