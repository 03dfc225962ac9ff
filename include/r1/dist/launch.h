#pragma once
#include <memory>
#include <string>

#include "r1/dist/communicator.h"
#include "r1/util/config.h"

namespace r1::dist {

/// The `parallel:` section: how the ranks share the work, and when one counts as lost.
struct ParallelConfig {
  int64_t data = 0;            ///< ranks that hold different data and the same experts; 0: all that `expert` leaves
  int64_t expert = 1;          ///< ranks that share the experts of one model between them
  bool zero = false;           ///< ZeRO-1 (arXiv:1910.02054, P_os): optimizer state and masters split over the ranks
  double deadline_s = 1800;    ///< a collective that takes longer ends the job
  double heartbeat_s = 10;     ///< so long without a sign of life, and a rank counts as lost
  static ParallelConfig parse(ConfigNode node);
  /// Throws Error that prints the factors unless data * expert is `world_size`.
  void check_grid(int world_size) const;
};

/// Who this process is among those that a launcher started together.
struct Launch {
  enum class By { kNone, kMpi, kSlurm, kTorchrun } by = By::kNone;
  int rank = 0, world_size = 1;
  int local_rank = 0, local_size = 1;  ///< on this machine
  std::string master_address;          ///< torchrun and srun: where rank 0 listens; empty with mpirun
  int master_port = 0;
  bool agent_store = false;            ///< torchrun's agent listens there, not rank 0
  std::string restart = "0";           ///< torchrun's count of restarts: the agent's store keeps what the last attempt wrote
  bool pmi = false;                    ///< srun --mpi=pmix or pmi2: MPI can find its ranks
};

/// Reads what mpirun (OMPI_COMM_WORLD_*), torchrun and Kubernetes operators (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT)
/// or srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS, ...) left in the environment. Where one was started inside another the inner one
/// counts: a torchrun agent (TORCHELASTIC_RUN_ID), then mpirun, then the variables of torchrun, then srun. None of them: one rank.
/// Throws Error that names the variables for a set that is incomplete or contradicts itself.
Launch read_launch();

/// The communicator of all ranks; with one rank it is single(). Collective: every rank calls it once, before any other thread of the
/// program talks to the others.
///
///   gpu   NCCL over the GPU `local_rank`, else MPI
///
/// From here on a watch in the background tells every rank who has been lost or is missing, with phase, collective and number, and
/// ends the process with exit code kLostRank.
std::shared_ptr<Communicator> connect(const Launch& launch, const ParallelConfig& config, bool gpu);

/// Whether connect() has brought this process together with the other ranks.
bool connected();

/// Exit code of a rank that ends because another one is gone: "temporary failure; try again" (sysexits.h EX_TEMPFAIL). A launcher or
/// `r1 run --max-restarts` goes on from the newest checkpoint.
inline constexpr int kLostRank = 75;

/// What a rank does, for people and tests: every rank keeps "rank 2 pid 71 host a phase backward number 1204 all_reduce of
/// 'gradients' waits" (begun, waits or ended) in `folder`/rank-2 up to date (a mapped page: no system call). Call it once the run
/// directory is there. Throws Error that names the file if it cannot be made.
void show_status_in(const std::string& folder);

}  // namespace r1::dist
