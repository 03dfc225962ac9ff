#include "mpi_communicator.h"
#include "r1/dist/communicator.h"
#include "r1/dist/plain_mpi.h"
#include "r1/util/error.h"

namespace r1::dist {

class MpiEngine {};

MpiStart::MpiStart(const Launch&) : rank_(0), size_(1) {
  throw Error("parallel: these ranks talk over MPI, and this r1 was built without it (R1_MPI=OFF).\n"
              "  Build with -DR1_MPI=ON (Debian: libopenmpi-dev openmpi-bin); ranks on GPUs also start by torchrun's variables.");
}

void MpiStart::abandon() {}
std::string MpiStart::broadcast(const std::string& bytes) { return bytes; }
std::vector<std::string> MpiStart::all_gather(const std::string& bytes) { return {bytes}; }

std::shared_ptr<Communicator> mpi_communicator(const MpiStart&, std::shared_ptr<Session>, int, int) { return nullptr; }

std::optional<double> plain_mpi_seconds(Communicator&, const std::string&, const at::Tensor&, const at::Tensor&, int64_t) { return {}; }

}  // namespace r1::dist
