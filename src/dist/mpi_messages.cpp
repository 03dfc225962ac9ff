#include "mpi_messages.h"

#include <algorithm>
#include <stdexcept>

#include "r1/util/strings.h"

namespace r1::dist {
namespace {

constexpr int64_t kLargestMessage = int64_t{1} << 30;  // counts are int

}  // namespace

void check_mpi(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw std::runtime_error(cat(what, ": ", text));
}

void Messages::send(const void* data, int64_t bytes, int to, int tag, MPI_Comm comm) {
  do {
    const int64_t part = std::min(bytes, kLargestMessage);
    check_mpi(MPI_Isend(data, static_cast<int>(part), MPI_BYTE, to, tag, comm, &requests_.emplace_back(MPI_REQUEST_NULL)), "MPI_Isend");
    data = static_cast<const char*>(data) + part;
    bytes -= part;
  } while (bytes > 0);
}

void Messages::receive(void* data, int64_t bytes, int from, int tag, MPI_Comm comm) {
  do {
    const int64_t part = std::min(bytes, kLargestMessage);
    expected_.push_back({requests_.size(), static_cast<int>(part), from});
    check_mpi(MPI_Irecv(data, static_cast<int>(part), MPI_BYTE, from, tag, comm, &requests_.emplace_back(MPI_REQUEST_NULL)), "MPI_Irecv");
    data = static_cast<char*>(data) + part;
    bytes -= part;
  } while (bytes > 0);
}

bool Messages::done() {
  if (requests_.empty()) return true;
  int flag = 0;
  statuses_.resize(requests_.size());
  const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &flag, statuses_.data());
  if (code == MPI_ERR_IN_STATUS) {
    for (const auto& status : statuses_) {
      if (status.MPI_ERROR != MPI_ERR_PENDING) check_mpi(status.MPI_ERROR, "MPI_Testall");
    }
  }
  check_mpi(code, "MPI_Testall");
  if (flag == 0) return false;
  for (const auto& expected : expected_) {
    int bytes = 0;
    check_mpi(MPI_Get_count(&statuses_[expected.request], MPI_BYTE, &bytes), "MPI_Get_count");
    if (bytes != expected.bytes) {
      throw std::runtime_error(cat("rank ", expected.from, " sent ", bytes, " bytes where ", expected.bytes, " were expected"));
    }
  }
  requests_.clear();
  expected_.clear();
  return true;
}

}  // namespace r1::dist
