#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace r1::apps {

/// `r1 run --max-restarts`, `--launch`.
struct Supervision {
  std::string launch;        ///< words before `r1`, for example "mpirun -n 4"; empty: r1 itself
  int64_t max_restarts = 0;  ///< after so many the run is given up

  bool wanted() const { return max_restarts > 0 || !launch.empty(); }
};

/// Runs `r1 <arguments>` as a child, under the launcher, and again with `--or-resume` when it ended for a reason that another try may
/// mend: a rank was lost (dist::kLostRank) or a signal ended it. Mistakes (1, 2) and requested stops (130, 143) are final. SIGINT and
/// SIGTERM go on to the child, which ends after its step; through a launcher as SIGUSR1, which mpirun and srun pass on to the ranks.
/// Returns the last exit code, 128 + signal for a signal. Throws Error when the child cannot be started.
int supervise(const Supervision& supervision, const std::vector<std::string>& arguments);

}  // namespace r1::apps
