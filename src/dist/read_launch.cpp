#include "read_launch.h"

#include <charconv>

#include "r1/util/error.h"
#include "r1/util/strings.h"

extern char** environ;

namespace r1::dist {
namespace {

using Variables = std::map<std::string, std::string>;

bool has(const Variables& v, const std::string& name) {
  const auto found = v.find(name);
  return found != v.end() && !found->second.empty();
}

int number(const Variables& v, const std::string& name, const std::string& launcher, int low) {
  if (!has(v, name)) {
    throw Error(cat("environment: ", name, " is not set, though ", launcher, " seems to have started this process; accepted: a number of ",
                    low, " or more.\n  Start all ranks by one launcher, or unset what is left of another one."));
  }
  const auto& text = v.at(name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low) {
    throw Error(cat("environment: ", name, " is '", text, "'; accepted: a number of ", low, " or more.\n  ", launcher, " sets it."));
  }
  return value;
}

void check(const Launch& l, const char* rank, const char* world_size, const char* local_rank, const char* local_size) {
  if (l.rank >= l.world_size) {
    throw Error(cat("environment: ", rank, " is ", l.rank, " and ", world_size, " is ", l.world_size, "; accepted: a rank below the number of ranks.\n",
                    "  Start all ranks by one launcher, or unset what is left of another one."));
  }
  if (l.local_rank >= l.local_size || l.local_size > l.world_size) {
    throw Error(cat("environment: ", local_rank, " is ", l.local_rank, ", ", local_size, " is ", l.local_size, " and ", world_size, " is ",
                    l.world_size, "; accepted: local rank < local ranks <= all ranks.\n  Start all ranks by one launcher, or unset what is left of another one."));
  }
}

Launch of_mpirun(const Variables& v) {
  Launch l;
  l.by = Launch::By::kMpi;
  l.rank = number(v, "OMPI_COMM_WORLD_RANK", "mpirun", 0);
  l.world_size = number(v, "OMPI_COMM_WORLD_SIZE", "mpirun", 1);
  l.local_rank = number(v, "OMPI_COMM_WORLD_LOCAL_RANK", "mpirun", 0);
  l.local_size = number(v, "OMPI_COMM_WORLD_LOCAL_SIZE", "mpirun", 1);
  l.pmi = true;
  check(l, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE");
  return l;
}

Launch of_torchrun(const Variables& v) {
  Launch l;
  l.by = Launch::By::kTorchrun;
  l.rank = number(v, "RANK", "torchrun or a PyTorchJob", 0);
  l.world_size = number(v, "WORLD_SIZE", "torchrun or a PyTorchJob", 1);
  // PyTorchJob starts one process in each pod and sets neither of these.
  l.local_rank = has(v, "LOCAL_RANK") ? number(v, "LOCAL_RANK", "torchrun", 0) : 0;
  l.local_size = has(v, "LOCAL_WORLD_SIZE") ? number(v, "LOCAL_WORLD_SIZE", "torchrun", 1) : l.local_rank + 1;
  check(l, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE");
  if (l.world_size == 1) return l;
  if (!has(v, "MASTER_ADDR")) {
    throw Error("environment: MASTER_ADDR is not set, though RANK and WORLD_SIZE are; accepted: name or address of rank 0's machine.\n"
                "  torchrun and Kubernetes operators set it; in a shell: MASTER_ADDR=host MASTER_PORT=29500 RANK=0 WORLD_SIZE=2 LOCAL_RANK=0.");
  }
  l.master_address = v.at("MASTER_ADDR");
  l.master_port = number(v, "MASTER_PORT", "torchrun or a PyTorchJob", 1);
  if (l.master_port > 65535) throw Error(cat("environment: MASTER_PORT is ", l.master_port, "; accepted: 1 to 65535."));
  l.agent_store = has(v, "TORCHELASTIC_USE_AGENT_STORE") && v.at("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (has(v, "TORCHELASTIC_RESTART_COUNT")) l.restart = v.at("TORCHELASTIC_RESTART_COUNT");
  return l;
}

Launch of_srun(const Variables& v) {
  Launch l;
  l.by = Launch::By::kSlurm;
  l.rank = number(v, "SLURM_PROCID", "srun", 0);
  l.world_size = number(v, "SLURM_STEP_NUM_TASKS", "srun", 1);
  l.local_rank = number(v, "SLURM_LOCALID", "srun", 0);
  // "4(x2),3": tasks on each machine, and SLURM_NODEID is this one's place.
  l.local_size = l.local_rank + 1;
  if (has(v, "SLURM_STEP_TASKS_PER_NODE")) {
    int node = has(v, "SLURM_NODEID") ? number(v, "SLURM_NODEID", "srun", 0) : 0;
    for (const char* at = v.at("SLURM_STEP_TASKS_PER_NODE").c_str(); *at != '\0';) {
      char* end = nullptr;
      const auto tasks = static_cast<int>(std::strtol(at, &end, 10));
      int times = 1;
      if (end[0] == '(' && end[1] == 'x') times = static_cast<int>(std::strtol(end + 2, &end, 10));
      if (node < times) {
        l.local_size = tasks;
        break;
      }
      node -= times;
      at = end;
      while (*at == ')' || *at == ',') ++at;
      if (at == end) break;
    }
  }
  l.pmi = has(v, "PMIX_RANK") || has(v, "PMI_RANK") || has(v, "PMI_FD");
  check(l, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE");
  if (has(v, "MASTER_ADDR")) {
    l.master_address = v.at("MASTER_ADDR");
  } else if (has(v, "SLURM_STEP_NODELIST")) {
    l.master_address = first_host(v.at("SLURM_STEP_NODELIST"));
  }
  // All ranks must come to one port without having talked: the job's number gives it.
  l.master_port = has(v, "MASTER_PORT") ? number(v, "MASTER_PORT", "the batch script", 1)
                  : has(v, "SLURM_JOB_ID") ? 20000 + number(v, "SLURM_JOB_ID", "srun", 0) % 20000
                                           : 29500;
  return l;
}

}  // namespace

std::string first_host(const std::string& list) {
  const auto bracket = list.find('[');
  if (bracket == std::string::npos || list.find(',') < bracket) return list.substr(0, list.find(','));
  const auto end = list.find_first_of("-,]", bracket + 1);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1);
}

Launch launch_of(const Variables& v) {
  if (has(v, "TORCHELASTIC_RUN_ID")) return of_torchrun(v);
  if (has(v, "OMPI_COMM_WORLD_RANK") || has(v, "OMPI_COMM_WORLD_SIZE")) return of_mpirun(v);
  if (has(v, "RANK") || (has(v, "WORLD_SIZE") && !has(v, "SLURM_PROCID"))) return of_torchrun(v);
  // A batch script has SLURM_PROCID too; the number of a step's tasks is there only for what srun has started.
  if (has(v, "SLURM_PROCID") && has(v, "SLURM_STEP_NUM_TASKS")) return of_srun(v);
  return {};
}

Launch read_launch() {
  Variables variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return launch_of(variables);
}

}  // namespace r1::dist
