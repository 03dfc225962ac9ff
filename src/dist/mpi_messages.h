#pragma once
#include <mpi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace r1::dist {

/// Throws std::runtime_error "<what>: <MPI's text>" unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* what);

/// Sends and receives that were begun together. only the thread that drives MPI uses it.
class Messages {
 public:
  Messages() = default;
  Messages(Messages&&) = default;
  Messages& operator=(Messages&&) = default;

  /// `bytes` may be 0: a message without content. More than a gigabyte goes in several.
  void send(const void* data, int64_t bytes, int to, int tag, MPI_Comm comm);
  void receive(void* data, int64_t bytes, int from, int tag, MPI_Comm comm);

  /// True when all have arrived and left; from then on this is empty again. Throws when MPI reports an error, and when a message is
  /// not as long as was expected: ranks that sent different things.
  bool done();

 private:
  struct Expected {
    size_t request;
    int bytes, from;
  };
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<Expected> expected_;
};

}  // namespace r1::dist
