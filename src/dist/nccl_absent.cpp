#include "nccl_communicator.h"
#include "r1/util/error.h"

namespace r1::dist {

std::shared_ptr<Communicator> nccl_communicator(std::shared_ptr<Session>, c10::intrusive_ptr<c10d::Store>, std::shared_ptr<MpiStart>, int,
                                                int, int) {
  throw Error("parallel: ranks on GPUs need NCCL, and this r1 was built without CUDA.\n  Build the preset `cuda`, or run on the CPU.");
}

}  // namespace r1::dist
