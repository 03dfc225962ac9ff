#pragma once
#include <memory>

#include "r1/dist/launch.h"
#include "session.h"

namespace r1::dist {

class MpiEngine;

/// MPI as it was started, before there is a watch.
class MpiStart {
 public:
  /// Throws Error when MPI does not see the ranks that the launcher has named.
  explicit MpiStart(const Launch& launch);

  std::string broadcast(const std::string& bytes);                ///< rank 0's bytes on every rank
  std::vector<std::string> all_gather(const std::string& bytes);  ///< every rank's bytes on every rank
  void abandon();  ///< the start has failed: MPI is left without a word to the others
  const std::shared_ptr<MpiEngine>& engine() const { return engine_; }

 private:
  std::shared_ptr<MpiEngine> engine_;
  [[maybe_unused]] int rank_, size_;
};

/// All ranks over MPI.
std::shared_ptr<Communicator> mpi_communicator(const MpiStart& start, std::shared_ptr<Session> session, int rank, int size);

}  // namespace r1::dist
