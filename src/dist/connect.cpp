#include "mpi_communicator.h"
#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"

namespace r1::dist {
namespace {

constexpr double kJoin_s = 60;  // for rank 0's store to come up

std::shared_ptr<Session> open_session(MpiStart& mpi, const Launch& launch, const ParallelConfig& config) {
  std::unique_ptr<Store> store;
  std::string said;  // by rank 0: "+" and the store's address, or "!" and what went wrong
  if (launch.rank == 0) {
    try {
      store = Store::host(launch.master_port);
      said = "+" + store->address().write();
    } catch (const std::exception& error) {
      mpi.broadcast(cat("!", error.what()));
      throw;
    }
  }
  said = mpi.broadcast(said);
  if (said[0] == '!') throw FailedElsewhere{cat("rank 0: ", said.substr(1))};
  const auto address = StoreAddress::read(said.substr(1));
  if (!store) store = Store::join(address, kJoin_s);
  auto counters = Store::join(address, kJoin_s);
  WatchSettings settings{.rank = launch.rank, .processes = {}, .limits = {config.deadline_s, config.heartbeat_s}};
  for (const auto& text : mpi.all_gather(ProcessName::own().write())) settings.processes.push_back(ProcessName::read(text));
  return std::make_shared<Session>(std::move(store), std::move(counters), settings);
}

}  // namespace

std::shared_ptr<Communicator> connect(const Launch& launch, const ParallelConfig& config, bool gpu) {
  StatusBoard::of_process().set_rank(launch.rank);
  if (launch.world_size == 1) return single();
  if (gpu) throw Error("not yet");
  if (!launch.pmi) {
    throw Error(cat("parallel: ", launch.world_size, " ranks on CPUs talk over MPI, and ",
                    launch.by == Launch::By::kSlurm ? "srun has started them without telling MPI how they find each other"
                                                    : "torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR) do not tell MPI how they find each other",
                    ".\n  Start them by `mpirun -n ", launch.world_size, " r1 ...`, or under Slurm by `srun --mpi=pmix r1 ...`."));
  }
  MpiStart mpi(launch);
  try {
    auto session = open_session(mpi, launch, config);
    return mpi_communicator(mpi, std::move(session), launch.rank, launch.world_size);
  } catch (...) {
    mpi.abandon();
    throw;
  }
}

}  // namespace r1::dist
