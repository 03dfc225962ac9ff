#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#include <atomic>

#include "mpi_communicator.h"
#include "nccl_communicator.h"
#include "r1/dist/launch.h"
#include "r1/util/error.h"
#include "r1/util/strings.h"
#include "status.h"

namespace r1::dist {
namespace {

std::atomic<bool> is_connected{false};

constexpr double kJoin_s = 60, kJoinOverNetwork_s = 300;  // for rank 0's store to come up

WatchSettings settings_of(const Launch& launch, const ParallelConfig& config) {
  return {.rank = launch.rank, .processes = {}, .limits = {config.deadline_s, config.heartbeat_s}};
}

/// The store where MPI can say where it is. `nccl`: also a connection for NCCL.
std::shared_ptr<Session> open_session(MpiStart& mpi, const Launch& launch, const ParallelConfig& config, std::unique_ptr<Store>* nccl) {
  std::unique_ptr<Store> store;
  std::string said;  // by rank 0: "+" and the store's address, or "!" and what went wrong
  if (launch.rank == 0) {
    try {
      store = Store::host(launch.master_port);
      said = cat("+", store->address().write());
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
  if (nccl != nullptr) *nccl = Store::join(address, kJoin_s);
  auto settings = settings_of(launch, config);
  for (const auto& text : mpi.all_gather(ProcessName::own().write())) settings.processes.push_back(ProcessName::read(text));
  return std::make_shared<Session>(std::move(store), std::move(counters), settings);
}

/// The store at MASTER_ADDR:MASTER_PORT, which rank 0 hosts unless torchrun's agent does.
std::shared_ptr<Session> open_session(const Launch& launch, const ParallelConfig& config, std::unique_ptr<Store>* nccl) {
  if (launch.master_address.empty()) {
    throw Error("parallel: nobody says where rank 0 is; accepted: MASTER_ADDR and MASTER_PORT in the environment of all ranks.\n"
                "  torchrun and Kubernetes operators set them; in a batch script: export MASTER_ADDR=$(hostname) MASTER_PORT=29500.");
  }
  const StoreAddress address{.addresses = {launch.master_address}, .port = launch.master_port, .network = {}};
  const auto prefix = cat("r1/", launch.restart, "/");
  std::unique_ptr<Store> store;
  if (launch.rank == 0 && !launch.agent_store) {
    store = Store::host(launch.master_port);
  } else {
    store = Store::join(address, kJoinOverNetwork_s);
  }
  auto counters = Store::join(address, kJoinOverNetwork_s);
  *nccl = Store::join(address, kJoinOverNetwork_s);
  for (auto* s : {&store, &counters, nccl}) (*s)->set_prefix(prefix);
  store->set(cat("process/", launch.rank), ProcessName::own().write());
  std::vector<std::string> keys;
  for (int r = 0; r < launch.world_size; ++r) keys.push_back(cat("process/", r));
  auto settings = settings_of(launch, config);
  for (const auto& text : store->get(keys)) settings.processes.push_back(ProcessName::read(text));
  return std::make_shared<Session>(std::move(store), std::move(counters), settings);
}

std::shared_ptr<Communicator> connect_by_mpi(const Launch& launch, const ParallelConfig& config, bool gpu) {
  auto mpi = std::make_shared<MpiStart>(launch);
  try {
    std::unique_ptr<Store> nccl;
    auto session = open_session(*mpi, launch, config, gpu ? &nccl : nullptr);
    if (!gpu) return mpi_communicator(*mpi, std::move(session), launch.rank, launch.world_size);
    return nccl_communicator(std::move(session), nccl->torch_store(), mpi, launch.rank, launch.world_size, launch.local_rank);
  } catch (...) {
    mpi->abandon();
    throw;
  }
}

std::shared_ptr<Communicator> connect_by_any(const Launch& launch, const ParallelConfig& config, bool gpu) {
  if (launch.pmi) return connect_by_mpi(launch, config, gpu);
  if (!gpu) {
    throw Error(cat("parallel: ", launch.world_size, " ranks on CPUs talk over MPI, and ",
                    launch.by == Launch::By::kSlurm ? "srun has started them without telling MPI how they find each other"
                                                    : "torchrun's variables (RANK, WORLD_SIZE, MASTER_ADDR) do not tell MPI how they find each other",
                    ".\n  Start them by `mpirun -n ", launch.world_size, " r1 ...`, or under Slurm by `srun --mpi=pmix r1 ...`."));
  }
  std::unique_ptr<Store> nccl;
  auto session = open_session(launch, config, &nccl);
  return nccl_communicator(std::move(session), nccl->torch_store(), nullptr, launch.rank, launch.world_size, launch.local_rank);
}

}  // namespace

std::shared_ptr<Communicator> connect(const Launch& launch, const ParallelConfig& config, bool gpu) {
  StatusBoard::of_process().set_rank(launch.rank);
  if (launch.world_size == 1) return single();
  auto ranks = connect_by_any(launch, config, gpu);
  is_connected = true;
  return ranks;
}

bool connected() { return is_connected; }

}  // namespace r1::dist
