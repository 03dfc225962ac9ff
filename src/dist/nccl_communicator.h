#pragma once
#include <memory>

#include "r1/dist/communicator.h"
#include "session.h"

namespace r1::dist {

class MpiStart;

/// All ranks over NCCL, each on the GPU `local_rank`, by LibTorch's ProcessGroupNCCL. `mpi`: kept until the end when mpirun has
/// started the ranks, else null. Throws Error in a program that was built without CUDA.
std::shared_ptr<Communicator> nccl_communicator(std::shared_ptr<Session> session, c10::intrusive_ptr<c10d::Store> store,
                                                std::shared_ptr<MpiStart> mpi, int rank, int size, int local_rank);

}  // namespace r1::dist
