#pragma once
#include <string>
#include <vector>

namespace r1::dist::testing_support {

struct JobResult {
  int exit_code = -1;  ///< mpirun's; 128 + signal when a signal ended it
  std::string out, err;
  double seconds = 0;
};

/// mpirun, as root and with more ranks than cores if it must be.
std::vector<std::string> mpirun_words(int num_ranks);

/// Runs a program and waits for it.
JobResult run_job(const std::vector<std::string>& words);

/// `mpirun -n num_ranks dist_rank_program arguments...`
JobResult run_ranks(int num_ranks, const std::vector<std::string>& arguments);

}  // namespace r1::dist::testing_support
